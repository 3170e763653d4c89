"""What the faults have in common under which packets between the nodes and the engine are lost."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.network.cut_node import CutNode
from loadtests.lab.servers.network import NamespaceNetwork, NoNetwork, refuse_undroppable


class DroppedFault(CutNode):
    """Single packets are dropped at the engine, in its own network namespace, and are counted."""

    takes: ClassVar[str] = "Linux, root, iproute2, util-linux and nftables; several nodes on an engine of the lab's"

    def __init__(self) -> None:
        self._network: NamespaceNetwork | None = None

    @classmethod
    def needs(cls) -> str:
        try:
            refuse_undroppable()
        except NoNetwork as error:
            return str(error)
        return ""

    def begin(self, server: Any) -> str:
        self._network = server.network
        return self.drop(server.network, len(server.nodes))

    def drop(self, network: NamespaceNetwork, nodes: int) -> str:
        """Begin to drop packets; returns which, in words."""
        raise NotImplementedError

    def last(self, over: threading.Event) -> str:
        assert self._network is not None
        self.wait_for_effect(over, self._network.dropped)
        if not (count := self._network.dropped()):
            raise NotInjected("nothing was sent meanwhile")
        return f"{count} packets were lost"

    def heal(self, server: Any) -> None:
        server.network.drop_nothing()
