"""One run of read → decide → write, over one event or over several: what a guard runs.

A purchase is a cart of one. What several events add is the order of their locks (``LockOrder``): two carts that take
the same locks in different orders can each hold what the other one waits for, the deadlock. So there is one order for
all, by the event's id; each waits only for events that come after all it holds, and there is no circle.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from service.errors import Problem
from service.experiments.gates import Gates
from service.experiments.wait_graph import WaitGraph
from service.rules.inventory import Command, Record, View
from service.runtime.notifications import Blocked
from service.stores.base import Store

Exclusive = Callable[[str, float, Blocked], AbstractContextManager[object]]
"""Gives the lock of an event, until a deadline; calls back once if it is not free."""
Append = Callable[[Sequence[View]], Sequence[object]]
Outcomes = TypeVar("Outcomes")


class LockOrder(NamedTuple):
    """In which order a cart takes its locks, and where it writes down that it holds some and waits for another."""

    cart: str
    events: Sequence[str]
    waits: WaitGraph | None = None
    """None for a single event: nothing else is held while its lock is waited for."""


@dataclass(slots=True)
class Transaction(Generic[Outcomes]):
    """One run of read → decide → write: for the commands that wait for one event in one process, or for one cart."""

    store: Store
    events: Sequence[str]
    """In the order in which they are read; experiments know the transaction by the first."""
    take: Callable[[], Sequence[Sequence[Command]]]
    """Gives the commands to decide, a list for each event; called when nothing more has to be waited for, and again, to
    give the same, where the transaction is run again."""
    decide: Callable[[Sequence[View], Sequence[Sequence[Command]], datetime], tuple[Outcomes, Sequence[View]]]
    """Thinks as long as the settings say, then decides; the place between reading and writing. Returns the outcomes,
    and the views that they are about: those of the other events are not written."""
    deadline: float
    """Monotonic seconds after which no guard may be waited for any longer."""
    outcomes: Outcomes | None = None
    records: Sequence[Record] = ()
    """What was written."""
    answered: Sequence[str] = ()
    """The events that the outcomes are about: all, unless a cart was refused for the sake of one."""
    positions: Sequence[object] = ()
    """What has to be durable of each of these before any outcome may be told."""
    epoch: int = 0
    gates: Gates | None = None
    key: str = ""
    """The key of whoever waits for the guard: of the leader, or of the cart."""
    held_ms: float = 0.0
    store_ms: float = 0.0
    commands: Sequence[Sequence[Command]] = ()
    think: Callable[[], None] = lambda: None
    """Only thinks; for a guard under which nothing can be put between reading and writing."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    lock_order: LockOrder | None = None
    """Of a cart, and of a command that the rules decide whatever the guard translates."""

    @property
    def is_cart(self) -> bool:
        """Whether the commands are one of each event, and stand or fall together."""
        return self.lock_order is not None

    def locked(self, exclusive: Exclusive) -> AbstractContextManager[object]:
        """Hold the locks of all events inside a block.

        Errors, definite: ``lock_timeout`` with the event of a cart that was not free; where others wait for what is
        held here, and hold what is waited for here, with ``deadlock``, the events of that circle.
        """
        if self.lock_order is None:
            return exclusive(self.events[0], self.deadline, self.blocked)
        return self._locked_in_order(exclusive, self.lock_order)

    @contextlib.contextmanager
    def _locked_in_order(self, exclusive: Exclusive, order: LockOrder) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            for place, event in enumerate(order.events):
                if self.gates is not None:
                    self.gates.reach("acquire", event, [self.key])
                holds = order.events[:place]
                with contextlib.ExitStack() as waiting:
                    lock = exclusive(event, self.deadline, partial(self._blocked, waiting, holds, event))
                    try:
                        held.enter_context(lock)
                    except Problem as problem:
                        if problem.code == "lock_timeout":
                            raise _in_vain(order.waits, holds, event) from None
                        raise
            yield

    def _blocked(self, waiting: contextlib.ExitStack, holds: Sequence[str], wants: str) -> None:
        order = self.lock_order
        if holds and order is not None and order.waits is not None:
            waiting.enter_context(order.waits.written_down(order.cart, holds, wants))
        self.blocked(wants)

    def take_and_decide(self, append: Append | None = None) -> None:
        """Take the commands that wait, and the critical section for them, if there are any."""
        self.commands = self.take()
        if self.commands[0]:
            self.read_decide_write(append)

    def read_decide_write(self, append: Append | None = None) -> None:
        """The critical section. Without a guard around it, two of them may read the same version, and one's write
        replaces the other's: both buyers have their answer, the store knows of one.

        ``append`` takes the place of the store's own, for a guard that writes on a condition.
        """
        self.reach("view")
        began = time.perf_counter()
        # Once for all events, and before reading: which holds are due must be the same for what is read and for what is
        # decided.
        now = self.clock()
        first = self.store.view(self.events[0], self.commands[0], now)
        views = [first]
        for place in range(1, len(self.events)):
            self.reach("view", place, **self._seen(views))
            views.append(self.store.view(self.events[place], self.commands[place], now))
        read = time.perf_counter()
        seen = self._seen(views)
        outcomes, answered = self.decide(views, self.commands, now)
        decided = time.perf_counter()
        # Those of this try alone: one before it may have been rolled back after it had written.
        records: list[Record] = []
        for view in answered:
            records += view.fresh
        if records:
            self.reach("append", **seen)
            decided = time.perf_counter()
            self.positions = (append or self.store.append)(answered)
        else:
            self.positions = [view.source for view in answered]
        self.outcomes, self.records = outcomes, records
        self.answered = self.events if answered is views else [view.event.event for view in answered]
        self.store_ms += (read - began + time.perf_counter() - decided) * 1e3
        if self.gates is not None:  # what is seen here costs something to gather
            versions = [each.version for each in views]
            self.reach("release", version=first.version, left=views[-1].remaining, versions=versions)

    def _seen(self, views: Sequence[View]) -> dict[str, Any]:
        """What an experiment wants to know of the event that was read last."""
        return {} if self.gates is None else {"saw": views[-1].version, "left": views[-1].remaining}

    def reach(self, gate: str, place: int = 0, **seen: Any) -> None:
        """Wait at a gate, where an experiment keeps one. ``place`` is that of the event."""
        if self.gates is not None:
            self.gates.reach(gate, self.events[place], [command.key for command in self.commands[place]], **seen)

    def blocked(self, event: str = "") -> None:
        """Somebody else has what this transaction waits for: an experiment wants to know."""
        if self.gates is not None:
            self.gates.note("blocked", event or self.events[0], [self.key])


def _in_vain(waits: WaitGraph | None, holds: Sequence[str], event: str) -> Problem:
    """The problem of a cart that waited for an event until its time was up."""
    circle = waits.circle(holds, event) if waits is not None and holds else []
    if not circle:
        return Problem("lock_timeout", retry_after_s=1, event=event)
    held = ", ".join(holds)
    detail = f"Deadlock: this cart held {held} and waited for {event}; another held {event} and waited for {held}."
    return Problem("lock_timeout", detail, retry_after_s=1, event=event, deadlock=circle)
