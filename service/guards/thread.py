"""Guard ``thread``: a lock in memory. Excludes the threads or greenlets of one process, and no other process."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import ClassVar

from service.errors import Problem
from service.guards.base import Mutex
from service.settings import Settings
from service.stores.base import Blocked, Store, ignore


class ThreadGuard(Mutex):
    """A ``threading.RLock`` an event; under gevent's patch it is a lock between greenlets.

    Does not guarantee: anything between two processes (each has a lock of its own, so two oversell), nor an order
    among those who wait.
    """

    name: ClassVar[str] = "thread"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._locks: dict[str, threading.RLock] = {}

    def exclusive(
        self, event: str, deadline: float, blocked: Blocked = ignore
    ) -> contextlib.AbstractContextManager[None]:
        # setdefault: two threads that ask for the first time at once must get the same lock.
        lock = self._locks.get(event) or self._locks.setdefault(event, threading.RLock())
        return _HeldThreadLock(lock, deadline, blocked)


class _HeldThreadLock(contextlib.AbstractContextManager[None]):
    """Written by hand: ``@contextmanager`` is too slow on this path."""

    __slots__ = ("_blocked", "_deadline", "_lock")

    def __init__(self, lock: threading.RLock, deadline: float, blocked: Blocked) -> None:
        self._lock = lock
        self._deadline = deadline
        self._blocked = blocked

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._blocked()
            if not self._lock.acquire(timeout=max(0.0, self._deadline - time.monotonic())):
                raise Problem("lock_timeout", retry_after_s=1)

    def __exit__(self, *_: object) -> None:
        self._lock.release()
