"""Fault ``cut-one-way``: the engine hears one node, and the node does not hear the engine.

So the engine carries out what the node has sent, and the node cannot know it: it has to tell its buyers that nothing is
known, and its buyers ask again under their keys.
"""

from __future__ import annotations

from typing import ClassVar

from loadtests.lab.faults.network.dropped import DroppedFault
from loadtests.lab.servers.network import NamespaceNetwork, node_address


class CutOneWay(DroppedFault):
    name: ClassVar[str] = "cut-one-way"
    says: ClassVar[str] = "The engine still hears one node, and its answers to that node are lost."

    def drop(self, network: NamespaceNetwork, nodes: int) -> str:
        network.drop(from_engine=f"ip daddr {node_address(nodes)}")
        return f"the engine's answers to node {nodes} dropped"
