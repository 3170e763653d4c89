"""Guard ``file``: one lock file an event, locked by ``flock``. Excludes every process of one host.

Guarantees: of all threads, greenlets and processes of a host that use the same data directory, one is inside. The
kernel frees the lock of a process that is killed. Does not guarantee: fairness (waiting is trying again and again,
and who happens to try when it is free gets it), nor anything across hosts.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from service.errors import RefusedToStart
from service.guards.base import HeldLock, LockLost, Mutex
from service.runtime.epoch import taking_part
from service.runtime.files import storage_problems, unique
from service.runtime.host_lock import FilelockLock, HostLock, LockFile, TimedLock, WrongFile
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import Store

log = logging.getLogger("lastseat")


class FileGuard(Mutex):
    """A lock an event, built in the worker: one that is built before the fork is dead after it.

    On the JSON store it is filelock's, as most people would have it; on the journal one that costs less than the
    purchase (see ``host_lock``). In each process only one thread waits for it at a time, since commands that wait stand
    in a line (``batch``): trying often costs little, and it must be often, for between two tries the lock is unused.
    """

    name = "file"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._directory = settings.data / "locks"
        self._directory.mkdir(exist_ok=True)
        self._kind: type[FilelockLock] | type[HostLock] = HostLock if store.name == "journal" else FilelockLock
        self._locks: dict[str, TimedLock] = {}
        self._refuse_a_lock_that_lets_two_in()

    def exclusive(self, event: str, deadline: float, blocked: Blocked = ignore) -> HeldLock:
        return HeldLock(partial(self._take, event, deadline, blocked))

    def _take(self, event: str, deadline: float, blocked: Blocked) -> Callable[[], None]:
        """Have the event's lock; returns what gives it back.

        Errors: ``lock_timeout``, ``storage_refused`` (definite); ``LockLost``.
        """
        with storage_problems():
            lock = self._lock(event)
            try:
                lock.take(deadline, blocked)
            except WrongFile:
                raise LockLost(lambda series, renew: self._repair(event, series, renew)) from None
        return lock.give_back

    def _lock(self, event: str) -> TimedLock:
        # setdefault: of two threads that build one at once, both use the same.
        return self._locks.get(event) or self._locks.setdefault(event, self._kind(self._path(event)))

    def open_with(self, series: int) -> None:
        """The files of all events that there are: after a copy or a restore they are others than they say."""
        for leftover in self._directory.glob("*.lock.*.tmp"):
            leftover.unlink(missing_ok=True)
        self._make(self._store.names(), series)

    @contextlib.contextmanager
    def creating(self, event: str) -> Iterator[None]:
        """Its lock file comes with it, so that its first buyer has nothing to repair.

        Here transactions run. But an event that is made in this block was not there before, so nobody had its lock.
        """
        missing = not self._path(event).exists()
        yield
        mode = taking_part.get()
        if missing and mode is not None:
            with contextlib.suppress(OSError):
                LockFile(self._path(event)).make_if_missing(mode.lock_series)

    def _repair(self, event: str, series: int, renew: Callable[[], int]) -> None:
        """Make all lock files anew: whoever removed one may have removed the others, and may put them back."""
        if LockFile(self._path(event)).is_right(series):
            return  # another process was here first
        with storage_problems():
            self._directory.mkdir(exist_ok=True)
            self._make({*self._store.names(), event}, renew())
        log.warning(
            "%s was removed or replaced while the service runs. All lock files were made anew while nobody was inside; "
            "nothing was sold twice",
            self._path(event),
        )

    def _make(self, events: Iterable[str], series: int) -> None:
        for event in events:
            file = LockFile(self._path(event))
            if not file.is_right(series):
                file.make(series)

    def _path(self, event: str) -> Path:
        return self._directory / f"{event}.lock"

    def _refuse_a_lock_that_lets_two_in(self) -> None:
        """Try with two threads (under gevent, greenlets) whether one object excludes them.

        It does not if filelock was imported before gevent's patch: its "current thread" is then the real one, all
        greenlets share it, and each finds the lock held by itself.
        """
        # A file of its own: nobody else's start has to be waited for.
        path = self._directory / f".start-check.{unique()}.lock"
        lock = FileLock(path, fallback_to_soft=False)
        got_in = []

        def intrude() -> None:
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
                got_in.append(True)
                lock.release()

        try:
            with lock:
                intruder = threading.Thread(target=intrude)
                intruder.start()
                intruder.join()
        finally:
            path.unlink(missing_ok=True)
        if got_in:
            raise RefusedToStart(
                "filelock was imported before gevent's monkey patch, so its locks let every greenlet in. Do not import "
                "filelock in gunicorn.conf.py or in anything that it imports, and start without --preload."
            )
