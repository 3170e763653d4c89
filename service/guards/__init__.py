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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from service.catalogue import GUARDS as GUARDS
from service.catalogue import GUARDS_OF
from service.errors import Problem
from service.experiments.gates import Gates
from service.guards.cart_transaction import CartTransaction
from service.rules.inventory import Command, Outcome, Record, View
from service.settings import Settings
from service.stores import Store


class LockLost(Exception):
    """The file of a lock is gone, or another one than all others lock; nothing was written. It is to be mended while
    no transaction runs, and then everything can be run again."""

    def __init__(self, mend: Callable[[int, Callable[[], int]], None]) -> None:
        """``mend`` is given the series of lock files that counts, and what begins the next one."""
        super().__init__()
        self.mend = mend


@dataclass(slots=True)
class Transaction:
    """One run of read → decide → write for the commands that wait for one event in one process."""

    store: Store
    event: str
    take: Callable[[], Sequence[Command]]
    """Gives the commands to decide; a guard calls it once, when nothing more has to be waited for."""
    deliberate: Callable[[View, Sequence[Command], datetime], Sequence[Outcome]]
    """Thinks as long as the settings say, then decides; the place between reading and writing."""
    deadline: float
    """Monotonic seconds after which no guard may be waited for any longer."""
    outcomes: Sequence[Outcome] = ()
    records: Sequence[Record] = ()
    """What was written."""
    position: object = None
    """What has to be durable before any outcome may be told."""
    epoch: int = 0
    gates: Gates | None = None
    key: str = ""
    """The key of the leader, who waits for the guard."""
    held_ms: float = 0.0
    store_ms: float = 0.0
    commands: Sequence[Command] = field(default_factory=list)
    think: Callable[[], None] = lambda: None
    """Only thinks; for a guard under which nothing can be put between reading and writing."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def read_decide_write(self, append: Callable[[View, Sequence[Record]], object] | None = None) -> None:
        """The critical section. Without a guard around it, two of them may read the same version, and one's write
        replaces the other's: both buyers have their answer, the store knows of one.

        ``append`` takes the place of the store's own, for a guard that writes on a condition.
        """
        self.reach("view")
        began = time.perf_counter()
        # Once, and before reading: which holds are due must be the same for what is read and for what is decided.
        now = self.clock()
        view = self.store.view(self.event, self.commands, now)
        read = time.perf_counter()
        self.position = view.source
        saw, left = view.version, view.remaining
        outcomes = self.deliberate(view, self.commands, now)
        decided = time.perf_counter()
        if view.fresh:
            self.reach("append", saw=saw, left=left)
            decided = time.perf_counter()
            self.position = (append or self.store.append)(view, view.fresh)
        # Of this try alone: one before it may have been rolled back after it had written.
        self.records = view.fresh
        self.outcomes = outcomes
        self.store_ms += (read - began + time.perf_counter() - decided) * 1e3
        self.reach("release", version=view.version)

    def reach(self, gate: str, **seen: Any) -> None:
        """Wait at a gate, where an experiment keeps one."""
        if self.gates is not None:
            self.gates.reach(gate, self.event, [command.key for command in self.commands], **seen)

    def blocked(self) -> None:
        """Somebody else has what this transaction waits for: an experiment wants to know."""
        if self.gates is not None:
            self.gates.note("blocked", self.event, [self.key])


class Guard(ABC):
    """What every guard offers. ``run`` may be called by many threads or greenlets at once."""

    name: ClassVar[str]
    groups: ClassVar[bool] = False
    """A process has one transaction of an event under way at a time; who comes meanwhile is decided in the next one."""

    @abstractmethod
    def __init__(self, settings: Settings, store: Store) -> None: ...

    @abstractmethod
    def run(self, transaction: Transaction) -> None:
        """Run the transaction once. Errors: ``Problem("lock_timeout")`` (definite) past its deadline."""

    def run_cart(self, cart: CartTransaction) -> None:
        """Run a cart once, over all of its events. Errors, definite: ``lock_timeout``; ``not_supported`` where the
        guard knows no more than one event at a time."""
        raise Problem("not_supported", f"Guard {self.name!r} guards one event at a time. Nothing was written.")

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

    def run(self, transaction: Transaction) -> None:
        with self.exclusive(transaction.event, transaction.deadline, transaction.blocked):
            began = time.perf_counter()
            transaction.commands = transaction.take()
            if transaction.commands:
                transaction.read_decide_write()
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def run_cart(self, cart: CartTransaction) -> None:
        with cart.locked(self.exclusive):
            cart.read_decide_write()

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
