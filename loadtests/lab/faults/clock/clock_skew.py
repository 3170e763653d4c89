"""Fault ``clock-skew``: one node's wall clock is ahead of that of the others, as without a time server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from loadtests.lab.faults.base import FaultUnfit
from loadtests.lab.faults.clock.moved import MovedClocks

AHEAD_S = 90


class ClockSkew(MovedClocks):
    name: ClassVar[str] = "clock-skew"
    says: ClassVar[str] = f"The wall clock of one node is {AHEAD_S} s ahead of that of the others."
    takes: ClassVar[str] = f"{MovedClocks.takes}, and several nodes (--nodes 2)"
    lasts_s: ClassVar[float] = 4.0
    ahead_s: ClassVar[float] = AHEAD_S

    def adapt(self, service: Any) -> Any:
        if service.nodes < 2:
            raise FaultUnfit(f"the fault {self.name} moves the clock of one of several nodes: say --nodes 2.")
        return service

    def moved(self, server: Any) -> Mapping[str, Any]:
        return {f"node {len(server.nodes)}": server.nodes[-1]}
