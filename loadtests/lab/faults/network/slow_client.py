"""Fault ``slow-client``: clients that send their request a byte at a time, beside the buyers.

A worker that reads a request to its end before it takes another one is kept by such a client: with as many of them as
there are workers, nobody buys. A proxy that reads whole requests first keeps them away from the workers.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, ClassVar
from urllib.parse import urlsplit

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected, TimedFault
from loadtests.lab.faults.processes import workers_of

_PAUSE_S = 0.05
_WITHIN_S = 5.0


class SlowClient(TimedFault):
    name: ClassVar[str] = "slow-client"
    says: ClassVar[str] = "Clients send their requests a byte at a time: as many as there are workers, and one more."
    takes: ClassVar[str] = "an address without TLS"
    lasts_s: ClassVar[float] = 2.0

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._connections: list[socket.socket] = []

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def begin(self, server: Any) -> str:
        parts = urlsplit(server.url)
        if parts.scheme != "http" or parts.hostname is None:
            raise FaultUnfit(f"slow clients cannot speak to {server.url}: they take an address with http://.")
        count = len(workers_of(server)) + 1
        self._connections = [
            self._open.enter_context(socket.create_connection((parts.hostname, parts.port or 80), _WITHIN_S))
            for _ in range(count)
        ]
        return f"{count} clients sent a byte every {_PAUSE_S * 1e3:g} ms"

    def last(self, over: threading.Event) -> str:
        sent = 0
        for byte in (b"GET / HTTP/1.1\r\nHost: slow\r\nX-Long: " + b"x" * 1000)[: round(self.lasts_s / _PAUSE_S)]:
            for each in self._connections:
                with contextlib.suppress(OSError):  # a service may close what is too slow for it
                    sent += each.send(bytes([byte]))
            if over.wait(_PAUSE_S):
                break
        if not sent:
            raise NotInjected("the service took no byte of them")
        return f"{sent} bytes in all"

    def heal(self, server: Any) -> None:
        self._connections = []
        self._open.close()
