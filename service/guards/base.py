"""What every guard offers, and the kinds of guards: one that excludes by a lock, and one whose lock is the engine's."""

from __future__ import annotations

import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

from service.catalogue import GUARDS, GUARDS_OF
from service.errors import Problem
from service.guards.transaction import Transaction
from service.settings import Settings
from service.stores.base import Blocked, Conflict, LockStatement, Store, Transacts, ignore

MOST_ATTEMPTS = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05


class LockLost(Exception):
    """The file of a lock is gone, or another one than all others lock; nothing was written. It is to be mended while
    no transaction runs, and then everything can be run again."""

    def __init__(self, mend: Callable[[int, Callable[[], int]], None]) -> None:
        """``mend`` is given the series of lock files that counts, and what begins the next one."""
        super().__init__()
        self.mend = mend


class Guard(ABC):
    """What every guard offers. ``run`` may be called by many threads or greenlets at once."""

    name: ClassVar[str]
    groups: ClassVar[bool] = False
    """A process has one transaction of an event under way at a time; who comes meanwhile is decided in the next one."""

    @abstractmethod
    def __init__(self, settings: Settings, store: Store) -> None: ...

    @abstractmethod
    def run(self, transaction: Transaction[Any]) -> None:
        """Run the transaction once, over all of its events. Errors: ``Problem("lock_timeout")`` (definite) past its
        deadline."""

    def around_request(self, event: str, deadline: float) -> contextlib.AbstractContextManager[None]:
        """Hold the guard around a whole request; one that holds nothing does nothing."""
        return contextlib.nullcontext()

    def open_with(self, series: int) -> None:  # noqa: B027
        """Make sure of what the guard needs for the events that there are; called by the first process of a new master,
        alone. ``series`` is that of the lock files that count."""

    def creating(self, event: str) -> contextlib.AbstractContextManager[None]:
        """An event of this name is made in this block, in a transaction."""
        return contextlib.nullcontext()

    @classmethod
    def fits(cls, store: Store) -> bool:
        """Whether it can do what it promises over this store."""
        return cls.name in GUARDS_OF[store.name]

    @classmethod
    def safe(cls, store_scope: str, processes: int) -> bool:
        """Whether it keeps all purchases apart that this many processes send to a store of this scope."""
        guard = GUARDS[cls.name]
        if guard.scope == "nobody" or guard.is_leaky or not guard.refuses_late_writes:
            return False
        return guard.scope == "everybody" or (store_scope != "cluster" and (guard.scope == "host" or processes == 1))


class Mutex(Guard):
    """A guard that excludes by a lock an event: ``exclusive`` says how it is had."""

    groups: ClassVar[bool] = True

    @abstractmethod
    def exclusive(
        self, event: str, deadline: float, blocked: Blocked = ignore
    ) -> contextlib.AbstractContextManager[None]:
        """Nobody else whom this lock excludes is in this block; the holder may enter it again.

        ``blocked`` is called once by who does not get in at once.
        """

    def run(self, transaction: Transaction[Any]) -> None:
        with transaction.locked(self.exclusive):
            began = time.perf_counter()
            self.decide(transaction)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def decide(self, transaction: Transaction[Any]) -> None:
        """What is done inside the lock."""
        transaction.take_and_decide()

    def around_request(self, event: str, deadline: float) -> contextlib.AbstractContextManager[None]:
        return self.exclusive(event, deadline)


class EngineLock(Mutex):
    """A guard that is a lock, or an isolation level, of the store's engine, said in one statement: ``lock``.

    The transaction is the engine's own: it begins with the guard's lock, what is read and written inside belongs to it,
    and its commit is what gives the lock back. So the disk is waited for under the lock, and a guard of this kind lives
    from batching: those who wait in a process go as one transaction. A cart takes the locks of all its events one after
    the other.

    An engine may refuse a transaction for the sake of another one (a deadlock, a serialization failure). It has then
    written nothing and is run again, a bounded number of times, and then told ``contention``, definitely.
    """

    lock: ClassVar[LockStatement]

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(Transacts, store)

    def exclusive(
        self, event: str, deadline: float, blocked: Blocked = ignore
    ) -> contextlib.AbstractContextManager[None]:
        return self._store.transacting(event, self.lock, deadline, blocked)

    def run(self, transaction: Transaction[Any]) -> None:
        if self._store.is_transacting:  # around the whole request: only that can be run again
            super().run(transaction)
        else:
            until_no_conflict(lambda: super(EngineLock, self).run(transaction), transaction.deadline)


def until_no_conflict(attempt: Callable[[], None], deadline: float) -> None:
    """Call ``attempt`` until it does not raise ``Conflict``.

    The pause in between is random below a limit that doubles (exponential backoff with full jitter): without it those
    who collided once collide again. Errors: ``contention`` (definite) after ``MOST_ATTEMPTS`` or past ``deadline``.
    """
    limit_s = _FIRST_PAUSE_S
    for _ in range(MOST_ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            if time.monotonic() >= deadline:
                break
        time.sleep(random.uniform(0, limit_s))
        limit_s = min(2 * limit_s, _LONGEST_PAUSE_S)
    raise Problem("contention", retry_after_s=1)
