"""Fault ``loss``: some packets between the nodes and the engine are lost, either way, as on a bad line.

What is lost is sent again, so nobody loses more than time: the first repetition comes after 0.2 s and more.
"""

from __future__ import annotations

from typing import ClassVar

from loadtests.lab.faults.network.dropped import DroppedFault
from loadtests.lab.servers.network import NamespaceNetwork

PERCENT = 20


class Loss(DroppedFault):
    name: ClassVar[str] = "loss"
    says: ClassVar[str] = f"Of the packets between the nodes and the engine {PERCENT} % are lost, either way."

    def drop(self, network: NamespaceNetwork, nodes: int) -> str:
        chance = f"numgen random mod 100 < {PERCENT}"
        network.drop(to_engine=chance, from_engine=chance)
        return f"{PERCENT} % of the packets between {nodes} nodes and the engine dropped"
