"""The sweeper: it expires holds that have ended and that no command has touched since.

No timer ends a hold: whether one is due is decided under the guard, with the first command that is decided afterwards.
If no command comes any more, the places of a hold that has ended would be shown as held for ever. So each process has a
sweeper, and one process of a host is elected. Its sweeper asks for a decision (``Sweep``), through the same line and
under the same guard as a buyer. It may come late, twice or never, and no sale becomes wrong.

The elected process holds a flock for as long as it lives. If it is killed, the kernel frees the flock for another one.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import threading
from pathlib import Path

from service.errors import Problem
from service.sales.box_office import BoxOffice

INTERVAL_S = 1.0
_STOP_PATIENCE_S = 5.0

log = logging.getLogger("lastseat")


class Sweeper:
    """The sweeper of one process. ``start`` has a thread sweep at intervals; ``sweep`` is one round."""

    def __init__(self, office: BoxOffice, directory: Path, interval_s: float = INTERVAL_S) -> None:
        self._office = office
        self._interval_s = interval_s
        self._path = directory / "sweeper.lock"
        self._fd = self._open()
        self._elected = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Go round every ``interval_s`` in a thread (under gevent a greenlet) until the process ends."""
        self._thread = threading.Thread(target=self._go_round, name="sweeper", daemon=True)
        self._thread.start()
        # Daemon threads are frozen in the middle of what they do when the interpreter ends; this one is not.
        atexit.register(self.stop)

    def stop(self) -> None:
        """Wait for the round that is under way, and give the election up."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_PATIENCE_S)
            self._thread = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._elected = False

    def is_elected(self) -> bool:
        """Whether this process is the elected one of its host now. It is elected here if there is none."""
        if self._stopping.is_set():
            return False
        if self._fd >= 0 and not self._is_named():
            # Removed or replaced: the elected process is the one that locks the file which has the name now.
            os.close(self._fd)
            self._fd, self._elected = -1, False
        if self._fd < 0:
            self._fd = self._open()
        if not self._elected:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._elected = True
        return self._elected

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_named(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        return False

    def sweep(self) -> int:
        """Sweep every event, if this process is elected. Returns the number of events where something was due."""
        if not self.is_elected():
            return 0
        return sum(self._sweep(event) for event in self._office.store.names() if not self._stopping.is_set())

    def _sweep(self, event: str) -> bool:
        try:
            return self._office.sweep(event)
        except Problem as problem:
            # Deleted meanwhile, overloaded, being switched, …: the next round tries again.
            log.debug("holds of %r are not tidied now: %s", event, problem)
            return False

    def _go_round(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self._office.control.look_after()
                if self._office.host_line is not None:
                    self._office.host_line.look_after()
                self.sweep()
            except Problem as problem:
                log.warning("a round of tidying was left out, and the next one comes: %s", problem)
            except Exception:
                log.exception("tidying holds failed; the next round comes")
