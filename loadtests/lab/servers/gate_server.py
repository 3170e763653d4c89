"""The lab's end of the service's gates: it sees which purchases wait at which gate, and lets them continue.

The service connects to a socket here and names its gate (see the service's ``gates``); the connection stays open until
``let_go``. One queue has everything that happens, arrivals, notes and the answers to buyers, in the order of arrival.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import msgspec


class Arrival(msgspec.Struct, omit_defaults=True):
    """Purchases, named by their ``keys``, have arrived at a gate, or (``note``) report something in passing."""

    event: str
    keys: list[str]
    pid: int
    gate: str = ""
    note: str = ""
    saw: int | None = None
    """At ``append``: the version that was read."""
    left: int | None = None
    """At ``append``: the tickets that were left when it was read."""
    version: int | None = None
    """At ``release``: the version that was written or refused on."""
    refused: bool = False
    """At ``release``: the engine decided, and refused."""


class Answered(msgspec.Struct):
    """A buyer has an answer, or lost the connection (``status`` 0). ``content`` is the answer's JSON."""

    buyer: str
    status: int
    content: dict[str, object]
    invoke_ns: int
    return_ns: int


Happening = Arrival | Answered


class GateServer:
    """A socket for the gates. ``path`` goes into the service's ``LASTSEAT_GATES``."""

    def __init__(self) -> None:
        # The path of a Unix socket may have about 100 characters, so it is not among the results.
        self._folder = Path(tempfile.mkdtemp(prefix="lastseat-"))
        self.path = self._folder / "gates"
        self.happenings: queue.Queue[Happening] = queue.Queue()
        self._waiting: dict[tuple[str, str], socket.socket] = {}
        self._mutex = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def let_go(self, arrival: Arrival) -> None:
        """Open the gate for this arrival. One whose process was killed is no error."""
        with self._mutex:
            line = self._waiting.pop((arrival.event, arrival.keys[0]), None)
        if line is not None:
            _open_gate(line)

    def let_everybody_go(self) -> None:
        """Open all gates for all arrivals that wait there now."""
        with self._mutex:
            lines, self._waiting = list(self._waiting.values()), {}
        for line in lines:
            _open_gate(line)

    def __enter__(self) -> GateServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_everybody_go()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            # One after the other: the first message read happened first. A line is short and sent at once.
            line.settimeout(5)
            try:
                heard = msgspec.json.decode(_read_line(line), type=Arrival)
            except (OSError, msgspec.DecodeError):
                line.close()
                continue
            if heard.gate:
                with self._mutex:
                    self._waiting[heard.event, heard.keys[0]] = line
            else:
                line.close()
            self.happenings.put(heard)


def _open_gate(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.sendall(b"go\n")
    line.close()


def _read_line(line: socket.socket) -> bytes:
    with line.makefile("rb") as content:
        return content.readline()
