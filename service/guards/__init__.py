"""Guards: how *read → decide → write* is made atomic. A guard is one file and one entry in the catalogue.

A guard runs a ``Transaction``: it makes sure of whatever it promises, takes the commands that wait, and lets the
transaction read, decide and write. Whether it excludes by a lock, notices that somebody else wrote, or leaves it
all to an engine is its own business; the box office and the stores do not know.
"""

from __future__ import annotations

import contextlib
import functools
import pkgutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from service.catalogue import GUARDS as GUARDS
from service.catalogue import GUARDS_OF
from service.guards.transaction import Transaction as Transaction
from service.settings import Settings
from service.stores import Store


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
        self, event: str, deadline: float, blocked: Callable[[], None] = lambda: None
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


@functools.cache
def guard_class(name: str) -> type[Guard]:
    """The class of a guard of the catalogue; ``KeyError`` where there is none."""
    found: type[Guard] = pkgutil.resolve_name(f"service.guards.{name}:{GUARDS[name].class_name}")
    return found


def fitting(store: Store) -> list[str]:
    """The names of the guards that fit a store, in the order of the catalogue."""
    return [name for name in GUARDS if guard_class(name).fits(store)]
