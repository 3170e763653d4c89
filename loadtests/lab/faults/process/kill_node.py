"""Fault ``kill-node``: ``kill -9`` of one node's master and all its workers during the sale; then it is started again.

The outcome of a request to the killed node is unknown to the buyer, who asks another node again under the same key.
"""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.faults.base import Fault, FaultUnfit, TimedFault


class KillNode(TimedFault):
    name: ClassVar[str] = "kill-node"
    says: ClassVar[str] = "One node is killed with all its workers (kill -9), and started again."
    takes: ClassVar[str] = "several nodes (--nodes 3), or a target"

    @classmethod
    def of_target(cls) -> type[Fault]:
        return KillTarget

    def adapt(self, service: Any) -> Any:
        if service.nodes < 2:
            raise FaultUnfit("the fault kill-node takes one of several nodes away: say --nodes 3.")
        return service

    def begin(self, server: Any) -> str:
        server.nodes[-1].kill()
        return f"node {len(server.nodes)} killed"

    def heal(self, server: Any) -> None:
        server.nodes[-1].restart()


class KillTarget(TimedFault):
    name: ClassVar[str] = "kill-node"
    says: ClassVar[str] = "The service is killed with all its processes (kill -9), and started again."

    def begin(self, server: Any) -> str:
        server.kill()
        return "the service killed, and started again on what it had kept"

    def heal(self, server: Any) -> None:
        server.start()
