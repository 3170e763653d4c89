"""``restart-engine``: the engine is stopped in order during the sale, as an upgrade of it does, and started again."""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.engines import ENGINES
from loadtests.lab.faults import Fault, FaultUnfit


class RestartEngine(Fault):
    says: ClassVar[str] = "the engine is stopped in order, and started again"

    @classmethod
    def fit(cls, service: Any) -> Any:
        if service.store not in ENGINES:
            raise FaultUnfit(
                f"this fault is done to an engine that the lab has started itself: say --store {' or '.join(ENGINES)}"
            )
        return service

    def inject(self, server: Any) -> str:
        server.engine.stop()
        return "engine stopped"

    def heal(self, server: Any) -> None:
        server.engine.start()
