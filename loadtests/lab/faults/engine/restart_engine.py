"""Fault ``restart-engine``: the engine is stopped in order during the sale, as for its upgrade, and started again."""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.faults.base import FaultUnfit, TimedFault
from loadtests.lab.servers.engines import ENGINES


class RestartEngine(TimedFault):
    name: ClassVar[str] = "restart-engine"
    says: ClassVar[str] = "The engine is stopped in order, as for its upgrade, and started again."
    takes: ClassVar[str] = "an engine that the lab has started (--store postgres or redis)"
    lasts_s: ClassVar[float] = 0.5

    def adapt(self, service: Any) -> Any:
        if service.store not in ENGINES:
            raise FaultUnfit(
                f"the fault {self.name} is done to an engine that the lab has started: say --store "
                f"{' or '.join(ENGINES)}, without an address."
            )
        if missing := self.needs_under(service.store):
            raise FaultUnfit(
                f"the fault {self.name} cannot be injected on this machine with --store {service.store}: {missing}"
            )
        return service

    def begin(self, server: Any) -> str:
        server.engine.stop()
        return "engine stopped"

    def heal(self, server: Any) -> None:
        server.engine.restart()
