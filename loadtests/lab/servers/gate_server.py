"""The lab's end of the service's gates: it sees which purchases wait at which gate, and lets them continue.

The service connects to a socket here and names its gate (see the service's ``gates``); the connection stays open until
``let_go``. One queue has everything that happens, arrivals, notes and the answers to buyers, in the order of arrival.
A gate of the lab's own, ``invoke``, is where a buyer waits before a request.

Beside the socket is the clock of the service, which stands still until it is moved.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from loadtests.lab.history.recorder import Operation


class Arrival(msgspec.Struct, omit_defaults=True):
    """Purchases, named by their ``keys``, have arrived at a gate, or (``note``) report something in passing."""

    event: str
    keys: list[str]
    pid: int
    thread: int = 0
    """Which thread or greenlet of the process: two requests under one key are told apart by it."""
    gate: str = ""
    note: str = ""
    saw: int | None = None
    """At ``append``, and at a cart's next ``view``: the version that was read last; at ``release``: what it is now."""
    left: int | None = None
    """The tickets that were left then."""
    version: int | None = None
    """At ``release``: the version that was written or refused on."""
    versions: list[int] = []
    """The same of every event of a cart."""
    refused: bool = False
    """At ``release``: the engine decided, and refused."""


class Answered(msgspec.Struct):
    """A buyer's operation has an answer, or lost the connection (``status`` 0)."""

    buyer: str
    status: int
    code: str = ""
    """The problem's, if the answer is one."""
    lost: bool = False
    """The buyer did not get it."""
    lines: list[Operation] = []
    """What the history says of the operation: a line for each event."""


class Finished(msgspec.Struct):
    """A buyer's program is at its end."""

    buyer: str


Happening = Arrival | Answered | Finished


class GateServer:
    """A socket for the gates. ``path`` goes into the service's ``LASTSEAT_GATES``."""

    def __init__(self, *, parks: bool = False) -> None:
        """``parks``: who reports that they have to wait is kept waiting until ``let_go``."""
        self._parks = parks
        # The path of a Unix socket may have about 100 characters, so it is not among the results.
        self._folder = Path(tempfile.mkdtemp(prefix="lastseat-"))
        self.path = self._folder / "gates"
        self.happenings: queue.Queue[Happening] = queue.Queue()
        self._clock = _SharedClock(self._folder / "clock")
        self._waiting: dict[_Place, socket.socket | threading.Event] = {}
        self._mutex = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def moved_ns(self) -> int:
        """How far the service's clock was moved since it was set."""
        return self._clock.moved_ns

    def set_clock(self) -> None:
        """Let the service's clock show the present instant, and stand still."""
        self._clock.set(time.time_ns())

    def move_clock(self, by_ns: int) -> None:
        self._clock.move(by_ns)

    def let_go(self, arrival: Arrival, word: str = "go") -> None:
        """Open the gate for this arrival; with ``refuse`` the disk fails there. One whose process was killed is no
        error."""
        with self._mutex:
            line = self._waiting.pop(_place(arrival), None)
        if line is not None:
            _open_gate(line, word)

    def wait_to_invoke(self, event: str, key: str) -> None:
        """Wait at the lab's own gate until it is opened."""
        arrival, opened = Arrival(event, [key], 0, threading.get_ident(), "invoke"), threading.Event()
        with self._mutex:
            self._waiting[_place(arrival)] = opened
        self.happenings.put(arrival)
        opened.wait()

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
        self._clock.close()
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
            if heard.gate or self._parks:
                with self._mutex:
                    self._waiting[_place(heard)] = line
            else:
                line.close()
            self.happenings.put(heard)


class _SharedClock:
    """Eight bytes in a file that the processes of the service have mapped: nanoseconds since 1970."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b", buffering=0)
        self.set(time.time_ns())

    def set(self, now_ns: int) -> None:
        self.moved_ns = 0
        self._now_ns = now_ns
        os.pwrite(self._file.fileno(), now_ns.to_bytes(8, "little"), 0)

    def move(self, by_ns: int) -> None:
        moved_ns = self.moved_ns + by_ns
        self.set(self._now_ns + by_ns)
        self.moved_ns = moved_ns

    def close(self) -> None:
        self._file.close()


_Place = tuple[str, tuple[str, ...], int, int]


def _place(arrival: Arrival) -> _Place:
    return arrival.event, tuple(arrival.keys), arrival.pid, arrival.thread


def _open_gate(line: socket.socket | threading.Event, word: str = "go") -> None:
    if isinstance(line, threading.Event):
        line.set()
        return
    with contextlib.suppress(OSError):
        line.sendall(word.encode() + b"\n")
    line.close()


def _read_line(line: socket.socket) -> bytes:
    with line.makefile("rb") as content:
        return content.readline()
