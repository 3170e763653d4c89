"""The base classes of guards: of all, of those that exclude by a lock, and of those whose lock is the engine's."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, ClassVar, cast

from service.catalogue import GUARDS, GUARDS_OF
from service.errors import Problem
from service.guards.transaction import Transaction
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import Conflict, LockStatement, Store, Transactional

MOST_ATTEMPTS = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05


class LockLost(Exception):
    """The file of a lock is gone, or is not the one that the others lock; nothing was written. It has to be repaired
    while no transaction runs; then the transaction can be run again."""

    def __init__(self, repair: Callable[[int, Callable[[], int]], None]) -> None:
        """``repair`` takes the series of lock files that counts, and a function that begins the next series."""
        super().__init__()
        self.repair = repair


class Guard(ABC):
    """What every guard offers. ``run`` may be called by many threads or greenlets at once."""

    name: ClassVar[str]
    groups: ClassVar[bool] = False
    """Whether a process runs one transaction of an event at a time; what comes meanwhile is decided in the next."""

    @abstractmethod
    def __init__(self, settings: Settings, store: Store) -> None: ...

    @abstractmethod
    def run(self, transaction: Transaction[Any]) -> None:
        """Run the transaction once, over all of its events. Errors: ``Problem("lock_timeout")`` (definite) past its
        deadline."""

    def around_request(self, event: str, deadline: float) -> AbstractContextManager[object]:
        """Hold the guard around a whole request; a guard that holds nothing does nothing."""
        return nullcontext()

    def open_with(self, series: int) -> None:  # noqa: B027
        """Prepare what the guard needs for the existing events; called by the first process of a new master, alone.
        ``series`` is the series of lock files that counts."""

    def creating(self, event: str) -> AbstractContextManager[object]:
        """A block in which an event of this name is made, in a transaction."""
        return nullcontext()

    @classmethod
    def fits(cls, store: Store) -> bool:
        """Whether it can keep its promise over this store."""
        return cls.name in GUARDS_OF[store.name]

    @classmethod
    def safe(cls, store_scope: str, processes: int) -> bool:
        """Whether it keeps apart all purchases that ``processes`` processes send to a store of this scope."""
        guard = GUARDS[cls.name]
        if guard.scope == "nobody" or guard.is_leaky or not guard.refuses_late_writes:
            return False
        return guard.scope == "everybody" or (store_scope != "cluster" and (guard.scope == "host" or processes == 1))


class Mutex(Guard):
    """A guard with a lock for each event: ``exclusive`` takes it."""

    groups: ClassVar[bool] = True

    @abstractmethod
    def exclusive(self, event: str, deadline: float, blocked: Blocked = ignore) -> AbstractContextManager[object]:
        """Nobody else whom this lock excludes is in this block; the holder may enter it again."""

    def run(self, transaction: Transaction[Any]) -> None:
        with transaction.locked(self.exclusive):
            began = time.perf_counter()
            self.decide(transaction)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def decide(self, transaction: Transaction[Any]) -> None:
        """What is done inside the lock."""
        transaction.take_and_decide()

    def around_request(self, event: str, deadline: float) -> AbstractContextManager[object]:
        return self.exclusive(event, deadline)


class HeldLock(AbstractContextManager[None]):
    """The lock that ``take`` takes is held in this block; what ``take`` returns gives it back.

    Written by hand: ``@contextmanager`` is too slow on this path.
    """

    __slots__ = ("_give_back", "_take")

    def __init__(self, take: Callable[[], Callable[[], object]]) -> None:
        self._take = take

    def __enter__(self) -> None:
        self._give_back = self._take()

    def __exit__(self, *_: object) -> None:
        self._give_back()


class EngineLock(Mutex):
    """A guard that is a lock, or an isolation level, of the store's engine, said in one statement: ``lock``.

    The transaction is the engine's own: it begins with the guard's lock, what is read and written inside belongs to it,
    and its commit is what gives the lock back. So the disk is waited for under the lock, and a guard of this kind
    depends on batching: the commands that wait in a process go as one transaction. A cart takes the locks of all its
    events one after the other.

    An engine may refuse a transaction because of another one (a deadlock, a serialization failure). It has then
    written nothing and is run again, a bounded number of times; after that the answer is a definite ``contention``.
    """

    lock: ClassVar[LockStatement]

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(Transactional, store)

    def exclusive(self, event: str, deadline: float, blocked: Blocked = ignore) -> AbstractContextManager[object]:
        return self._store.transaction(event, self.lock, deadline, blocked)

    def run(self, transaction: Transaction[Any]) -> None:
        if self._store.in_transaction:  # around the whole request: only that can be run again
            super().run(transaction)
        else:
            until_no_conflict(lambda: super(EngineLock, self).run(transaction), transaction.deadline)


def until_no_conflict(attempt: Callable[[], None], deadline: float) -> None:
    """Call ``attempt`` until it does not raise ``Conflict``, with pauses in between.

    Errors: ``contention`` (definite) after ``MOST_ATTEMPTS`` or past ``deadline``.
    """
    for pause_s in islice(pauses_s(_LONGEST_PAUSE_S), MOST_ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            if time.monotonic() >= deadline:
                break
        time.sleep(pause_s)
    raise Problem("contention", retry_after_s=1)


def pauses_s(longest_s: float) -> Iterator[float]:
    """Seconds to wait between attempts: random below a limit that doubles (exponential backoff with full jitter).
    Without it those that collided once collide again."""
    limit_s = _FIRST_PAUSE_S
    while True:
        yield random.uniform(0, limit_s)
        limit_s = min(2 * limit_s, longest_s)
