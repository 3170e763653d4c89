"""Guard ``file``: one lock file an event, locked by ``flock``. Excludes every process of one host.

Guarantees: of all threads, greenlets and processes of a host that use the same data directory, one is inside. The
kernel frees the lock of a process that is killed. Does not guarantee: fairness (waiting is trying again and again,
and who happens to try when it is free gets it), nor anything across hosts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from filelock import Timeout

from service.errors import RefusedToStart
from service.files import storage_problems
from service.guards import Mutex
from service.guards.host_lock import FILELOCK_POLL_S, FilelockLock, HostLock, Lock
from service.settings import Settings
from service.stores import Store

_START_PATIENCE_S = 10.0


class FileGuard(Mutex):
    """A lock an event, built in the worker: one that is built before the fork is dead after it.

    On the JSON store it is filelock's, as most people would have it; on the journal one that costs less than the
    purchase (see ``host_lock``). In each process only one thread waits for it at a time, since those who wait stand in
    a line (``batch``): trying often costs little, and it must be often, for between two tries the lock stands unused.
    """

    name: ClassVar[str] = "file"
    stores: ClassVar[frozenset[str] | None] = frozenset({"json", "journal"})
    excludes: ClassVar[str] = "every process of one host"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._directory = settings.data / "locks"
        self._directory.mkdir(exist_ok=True)
        self._kind: type[FilelockLock] | type[HostLock] = HostLock if store.name == "journal" else FilelockLock
        self._locks: dict[str, Lock] = {}
        self._refuse_a_lock_that_lets_two_in()

    def exclusive(
        self, event: str, deadline: float, blocked: Callable[[], None] = lambda: None
    ) -> contextlib.AbstractContextManager[None]:
        return _Held(self, event, deadline, blocked)

    def take(self, event: str, deadline: float, blocked: Callable[[], None]) -> Lock:
        """Have the event's lock. Errors: ``lock_timeout``, ``storage_refused`` (definite)."""
        with storage_problems():
            lock = self._lock(event)
            lock.take(deadline, blocked)
        return lock

    def _lock(self, event: str) -> Lock:
        # setdefault: of two threads that build one at once, both use the same.
        return self._locks.get(event) or self._locks.setdefault(event, self._kind(self._directory / f"{event}.lock"))

    def _refuse_a_lock_that_lets_two_in(self) -> None:
        """Try with two threads (under gevent, greenlets) whether one object excludes them.

        It does not if filelock was imported before gevent's patch: its "current thread" is then the real one, all
        greenlets share it, and each finds the lock held by itself.
        """
        # The name has a character that no event id has: this file guards nothing.
        lock = FilelockLock(self._directory / ".start-check.lock").lock
        got_in = []

        def intrude() -> None:
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
                got_in.append(True)
                lock.release()

        # Other workers that start now do the same with the same file, hence the wait.
        with lock.acquire(timeout=_START_PATIENCE_S, poll_interval=FILELOCK_POLL_S):
            intruder = threading.Thread(target=intrude)
            intruder.start()
            intruder.join()
        if got_in:
            raise RefusedToStart(
                "filelock was imported before gevent's monkey patch, so its locks let every greenlet in. Do not import "
                "filelock in gunicorn.conf.py or in anything that it imports, and start without --preload."
            )


class _Held(contextlib.AbstractContextManager[None]):
    """Not a generator: every purchase passes here."""

    __slots__ = ("_arguments", "_guard", "_lock")

    def __init__(self, guard: FileGuard, *arguments: Any) -> None:
        self._guard = guard
        self._arguments = arguments

    def __enter__(self) -> None:
        self._lock = self._guard.take(*self._arguments)

    def __exit__(self, *_: object) -> None:
        self._lock.give_back()
