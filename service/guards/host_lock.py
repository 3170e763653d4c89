"""Locks between all processes of a host, by ``flock``: filelock's, and one that keeps its descriptor open.

Both lock the same file in the same way, so they exclude each other. filelock opens and closes the file at each turn and
costs some 90 µs; where a purchase takes little longer than that, the lock would be what is measured. ``HostLock`` is a
system call in each direction, behind a lock in memory for the threads or greenlets of its own process (a flock belongs
to the open file, which they share).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from service.errors import Problem

FILELOCK_POLL_S = 0.001
_SHORTEST_S, _LONGEST_S = 0.0001, 0.001


class Lock(Protocol):
    """What guard ``file`` needs of a lock; the holder may take it again."""

    def take(self, deadline: float, blocked: Callable[[], None]) -> None:
        """Have the lock. ``blocked`` is called once if that takes waiting. Errors: ``lock_timeout`` (definite)."""

    def give_back(self) -> None: ...


class FilelockLock:
    """A ``filelock.FileLock``: one object for all threads; its hold is counted by thread."""

    def __init__(self, path: Path) -> None:
        self.lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)

    def take(self, deadline: float, blocked: Callable[[], None]) -> None:
        try:
            self.lock.acquire(blocking=False)
        except Timeout:
            blocked()
            self._wait(deadline)

    def give_back(self) -> None:
        self.lock.release()

    def _wait(self, deadline: float) -> None:
        try:
            self.lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=FILELOCK_POLL_S)
        except Timeout:
            raise Problem("lock_timeout", retry_after_s=1) from None


class HostLock:
    """``flock`` on a descriptor that stays open. To be built in the worker: after a fork it would be its parent's."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inner = threading.RLock()
        self._depth = 0

    def take(self, deadline: float, blocked: Callable[[], None]) -> None:
        waits = not self._inner.acquire(blocking=False)
        if waits:
            blocked()
            if not self._inner.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise Problem("lock_timeout", retry_after_s=1)
        if self._depth == 0 and not self._try():
            try:
                if not waits:
                    blocked()
                self._wait(deadline)
            except BaseException:
                self._inner.release()
                raise
        self._depth += 1

    def give_back(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._inner.release()

    def _wait(self, deadline: float) -> None:
        """Only one thread of a process is ever here; a holder keeps the lock for some hundred microseconds."""
        pause_s = _SHORTEST_S
        while not self._try():
            if time.monotonic() >= deadline:
                raise Problem("lock_timeout", retry_after_s=1)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __del__(self) -> None:
        os.close(self._fd)
