"""Guard ``file``: one lock file an event (filelock, which is ``flock``). Excludes every process of one host.

Guarantees: of all threads, greenlets and processes of a host that use the same data directory, one is inside. The
kernel frees the lock of a process that is killed. Does not guarantee: fairness (filelock waits by polling, and who
happens to look when it is free gets it), nor anything across hosts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from filelock import FileLock, Timeout

from service.errors import Problem, RefusedToStart
from service.files import storage_problems
from service.guards import Mutex
from service.settings import Settings
from service.stores import Store

POLL_S = 0.001


class FileGuard(Mutex):
    """A ``FileLock`` an event, built in the worker: one that is built before the fork is dead after it.

    In each process only one thread polls at a time, since those who wait stand in a line (``batch``): so polling
    often costs little, and it must be often, for between two looks the lock stands unused.
    """

    name: ClassVar[str] = "file"
    stores: ClassVar[frozenset[str] | None] = frozenset({"json", "journal"})
    excludes: ClassVar[str] = "every process of one host"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._directory = settings.data / "locks"
        self._directory.mkdir(exist_ok=True)
        self._locks: dict[str, FileLock] = {}
        self._refuse_a_lock_that_lets_two_in()

    @contextlib.contextmanager
    def exclusive(self, event: str, deadline: float, blocked: Callable[[], None] = lambda: None) -> Iterator[None]:
        lock = self._lock(event)
        with storage_problems():
            try:
                lock.acquire(blocking=False)
            except Timeout:
                blocked()
                self._wait(lock, deadline)
        try:
            yield
        finally:
            lock.release()

    @staticmethod
    def _wait(lock: FileLock, deadline: float) -> None:
        try:
            lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=POLL_S)
        except Timeout:
            raise Problem("lock_timeout", retry_after_s=1) from None

    def _lock(self, event: str) -> FileLock:
        # One object for all threads: its hold is counted by thread, so a holder may enter again and others wait.
        # setdefault: of two threads that build one at once, both use the same.
        lock = self._locks.get(event)
        if lock is None:
            path = self._directory / f"{event}.lock"
            lock = self._locks.setdefault(event, FileLock(path, fallback_to_soft=False, preserve_lock_file=True))
        return lock

    def _refuse_a_lock_that_lets_two_in(self) -> None:
        """Try with two threads (under gevent, greenlets) whether one object excludes them.

        It does not if filelock was imported before gevent's patch: its "current thread" is then the real one, all
        greenlets share it, and each finds the lock held by itself.
        """
        # The name has a character that no event id has: this file guards nothing.
        lock = FileLock(self._directory / ".start-check.lock", fallback_to_soft=False, preserve_lock_file=True)
        got_in = []

        def intrude() -> None:
            with contextlib.suppress(Timeout):
                lock.acquire(blocking=False)
                got_in.append(True)
                lock.release()

        # Other workers that start now do the same with the same file, hence the wait.
        with lock.acquire(timeout=10, poll_interval=POLL_S):
            intruder = threading.Thread(target=intrude)
            intruder.start()
            intruder.join()
        if got_in:
            raise RefusedToStart(
                "filelock was imported before gevent's monkey patch, so its locks let every greenlet in. Do not import "
                "filelock in gunicorn.conf.py or in anything that it imports, and start without --preload."
            )
