"""``kill-node``: ``kill -9`` of one node's master and all its workers during the sale; then the node is started again.

What a buyer asked the killed node stays unknown until it is asked again, at any other node, under the same key.
"""

from __future__ import annotations

from typing import Any

from loadtests.lab.faults import Fault, FaultUnfit


class KillNode(Fault):
    says = "kill -9 of one node, which is then started again"

    @classmethod
    def fit(cls, service: Any) -> Any:
        if service.nodes < 2:
            raise FaultUnfit("kill-node takes a node away from several: say --nodes 3")
        return service

    def inject(self, server: Any) -> str:
        server.nodes[-1].kill()
        return f"node {len(server.nodes)} killed"

    def heal(self, server: Any) -> None:
        server.nodes[-1].start()
