"""What the faults have in common that a relay between the buyers and the service does to answers."""

from __future__ import annotations

import contextlib
import threading
from abc import abstractmethod
from typing import Any, ClassVar

from loadtests.lab.faults.base import Fault, NotInjected, TimedFault, refuse_several_nodes
from loadtests.lab.faults.network.relay import Relay


class RelayedFault(TimedFault):
    """A fault of the answers to buyers, for a while. It is done to every purchase that is answered in that time."""

    takes: ClassVar[str] = "one node, at an address without TLS"
    counted: ClassVar[str]
    """What is counted, in words that stand behind the number."""

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._relay: Relay | None = None
        self._count = 0

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def adapt(self, service: Any) -> Any:
        refuse_several_nodes(self.name, service)
        return service

    def address(self, url: str) -> str:
        self._relay = self._running.enter_context(Relay(url))
        return self._relay.url

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def begin(self, server: Any) -> str:
        assert self._relay is not None  # the buyers' address was asked for before their round
        self._count = 0
        self._relay.treat = self._treat
        return f"a relay stood between the buyers and {self._relay.of}"

    def last(self, over: threading.Event) -> str:
        self.wait_for_effect(over, lambda: self._count)
        if not self._count:
            raise NotInjected("no purchase was answered meanwhile")
        return f"{self._count} {self.counted}"

    def heal(self, server: Any) -> None:
        if self._relay is not None:
            self._relay.treat = None

    async def _treat(self, piece: bytes) -> tuple[bytes, bool]:
        self._count += 1
        return await self.treat(piece)

    @abstractmethod
    async def treat(self, piece: bytes) -> tuple[bytes, bool]:
        """Of a piece of an answer what is passed on, and whether the connection is reset then."""
