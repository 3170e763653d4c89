"""Fault ``cut-node``: one node loses the engine during the sale, silently, as by a broken switch; then it is mended.

Nodes and engine are hosts with addresses of their own for it (``network``). The cut node goes on to answer its buyers:
what it had asked the engine to write is unknown, what it cannot ask is refused. The others sell on: at once where the
engine decides by itself, and where a transaction of the cut node stands open with a lock, when the engine has ended it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from loadtests.lab.faults import FaultUnfit, TimedFault
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.network import NoNetwork, find_tools

LOCK_TIMEOUT_S = 1.0


class CutNode(TimedFault):
    name: ClassVar[str] = "cut-node"
    lasts_s: ClassVar[float] = 4.0

    def adapt(self, service: Any) -> Any:
        if service.nodes < 2 or service.store not in ENGINES:
            raise FaultUnfit(
                "the fault cut-node takes several nodes and an engine that the lab has started: say --nodes 3 --store "
                f"{' or '.join(ENGINES)}, without an address."
            )
        try:
            find_tools()
        except NoNetwork as error:
            raise FaultUnfit(str(error)) from None
        # A node waits as long for an answer of the engine as for the guard: it should notice within the cut.
        return msgspec.structs.replace(service, networks=True, lock_timeout_s=service.lock_timeout_s or LOCK_TIMEOUT_S)

    def begin(self, server: Any) -> str:
        server.network.cut(len(server.nodes))
        return f"node {len(server.nodes)} cut off from the engine"

    def heal(self, server: Any) -> None:
        server.network.heal(len(server.nodes))
