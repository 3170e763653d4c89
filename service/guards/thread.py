"""Guard ``thread``: a lock in memory. Excludes the threads or greenlets of one process, and no other process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from service.guards.base import HeldLock, Mutex
from service.runtime.notifications import Blocked, ignore, take_lock
from service.settings import Settings
from service.stores.base import Store


class ThreadGuard(Mutex):
    """A ``threading.RLock`` an event; under gevent's patch it is a lock between greenlets.

    Does not guarantee: anything between two processes (each has a lock of its own, so two oversell), nor an order
    among those who wait.
    """

    name = "thread"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._locks: dict[str, threading.RLock] = {}

    def exclusive(self, event: str, deadline: float, blocked: Blocked = ignore) -> HeldLock:
        # setdefault: two threads that ask for the first time at once must get the same lock.
        lock = self._locks.get(event) or self._locks.setdefault(event, threading.RLock())
        return HeldLock(partial(_take, lock, deadline, blocked))


def _take(lock: threading.RLock, deadline: float, blocked: Blocked) -> Callable[[], None]:
    take_lock(lock, deadline, blocked)
    return lock.release
