"""Fault ``clock-jump``: the wall clocks jump an hour ahead, as when a wrong time is set, and back when it is set right.

A Valkey that the lab has started jumps along, for a lease ends by the engine's clock. PostgreSQL is left alone: nothing
that is sold depends on its clock. Under a guard that is a lease the clocks go on jumping, an hour ahead each time: a
jump spoils a sale only if somebody holds the lease at that moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from loadtests.lab.faults.base import Fault, FaultUnfit
from loadtests.lab.faults.clock.moved import MovedClocks
from loadtests.lab.servers.valkey import ValkeyServer
from service.catalogue import GUARDS

AHEAD_S = 3600
_AGAIN_S = 0.02


class ClockJump(MovedClocks):
    name: ClassVar[str] = "clock-jump"
    says: ClassVar[str] = "The wall clocks of all processes jump an hour ahead, and back."
    ahead_s: ClassVar[float] = AHEAD_S

    def __init__(self) -> None:
        super().__init__()
        self._is_lease = False

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def adapt(self, service: Any) -> Any:
        self._is_lease = GUARDS[service.acting_guard].is_lease
        if self._is_lease and "://" in service.store:
            raise FaultUnfit(
                f"a lease ends by the engine's clock, and the fault {self.name} moves only that of an engine which the "
                "lab has started: say --store redis, without an address."
            )
        return service

    def moved(self, server: Any) -> Mapping[str, Any]:
        nodes = getattr(server, "nodes", ())
        found = {f"node {number}": node for number, node in enumerate(nodes, 1)} or {"the service": server}
        if getattr(server, "has_own_engine", False) and isinstance(server.engine, ValkeyServer):
            found["the engine"] = server.engine
        return found

    def last(self, over: threading.Event) -> str:
        if not self._is_lease:
            return super().last(over)
        jumps, ends = 1, time.monotonic() + self.lasts_s
        while time.monotonic() < ends and not over.wait(_AGAIN_S):
            jumps += 1
            self.put_ahead(jumps * self.ahead_s)
        return f"an hour ahead {jumps} times, for the guard is a lease"
