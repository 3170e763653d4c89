"""Fault ``cut-node``: one node silently loses the engine during the sale, as by a broken switch, for some time.

For this, nodes and engine are hosts with addresses of their own (``network``). The cut node still answers its buyers:
what it had asked the engine to write is unknown, and what it cannot ask is refused. The other nodes sell on: at once
where the engine itself decides. Where an open transaction of the cut node holds a lock, they wait until the engine has
ended it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from loadtests.lab.faults.base import FaultUnfit, TimedFault
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.network import NoNetwork, find_tools

LOCK_TIMEOUT_S = 1.0


class CutNode(TimedFault):
    name: ClassVar[str] = "cut-node"
    says: ClassVar[str] = "One node silently loses the engine, as by a broken switch, and is connected again."
    takes: ClassVar[str] = "Linux, root, iproute2 and util-linux; several nodes on an engine of the lab's"
    lasts_s: ClassVar[float] = 4.0

    @classmethod
    def needs(cls) -> str:
        try:
            find_tools()
        except NoNetwork as error:
            return str(error)
        return ""

    def adapt(self, service: Any) -> Any:
        if service.nodes < 2 or service.store not in ENGINES:
            raise FaultUnfit(
                f"the fault {self.name} takes several nodes and an engine that the lab has started: say --nodes 3 "
                f"--store {' or '.join(ENGINES)}, without an address."
            )
        # A node waits for the engine as long as for the guard: it should notice the cut while it lasts.
        return msgspec.structs.replace(service, networks=True, lock_timeout_s=service.lock_timeout_s or LOCK_TIMEOUT_S)

    def begin(self, server: Any) -> str:
        server.network.cut(len(server.nodes))
        return f"node {len(server.nodes)} cut off from the engine"

    def heal(self, server: Any) -> None:
        server.network.heal(len(server.nodes))
