"""The use cases of the ticket office, top to bottom: buy, cancel, look, audit, and what the admin does.

Buying passes through here like this: stand in the event's line (``batch``), take part in the current epoch
(``switch``), let the epoch's guard make *read → decide → write* atomic (``guards``), give the guard back, wait until
what was read or written is durable (``stores``), answer. No answer of any kind leaves before its version is durable.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from service.catalogue import GUARDS, OFF
from service.errors import Problem
from service.experiments.scheduled_clock import scheduled_clock
from service.guards import Guard, LockLost, Transaction, fitting
from service.rules.halls import Hall
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Order,
    Outcome,
    Record,
    Refusal,
    Release,
    Replay,
    Sell,
    Sweep,
    Swept,
    View,
    decide_all,
)
from service.rules.records import ANY, Held, Wish
from service.runtime.epoch import Mode, Switched
from service.runtime.files import storage_problems
from service.runtime.metrics import Unmeasured
from service.sales.admission import Admission
from service.sales.audits import keep_audit, refuse_removal
from service.sales.batch import Line, Purchases, Take, Waiting
from service.sales.host_line.client import HostLine
from service.sales.transaction_manager import TransactionManager
from service.settings import Settings, Think
from service.stores.base import Store
from service.switch.engine import EngineControl
from service.switch.shared_memory import Control

T = TypeVar("T")

# Ours are shorter; what a store was given by hand may be longer.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# How much longer than for the guard a command waits for an outcome that another thread is deciding.
ANSWER_PATIENCE_S = 10.0
_KEPT_OUT = frozenset({"lock_timeout", "switching", "contention"})
"""Problems of a guard that was not free in time: nothing was written."""

_nothing = contextlib.nullcontext()

# The mode of a request that holds the guard from its beginning to its end; None in every other request.
_request_mode: ContextVar[Mode | None] = ContextVar("request_mode", default=None)


class AnswerTimes(NamedTuple):
    """Where the milliseconds of one answer went, and the epoch it was decided under."""

    wait_ms: float = 0.0
    hold_ms: float = 0.0
    store_ms: float = 0.0
    epoch: int | None = None


class Done(NamedTuple):
    """A mutation that was committed now or (``replayed``) earlier under the same key."""

    record: Record
    replayed: bool
    times: AnswerTimes


class NotCombined(Exception):
    """Under the guard that acts now, a process may not decide for others; nothing was written."""


class BoxOffice:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        control: Control | EngineControl,
        processes: int,
        admission: Admission | None = None,
    ) -> None:
        """Without ``admission`` everybody is let in."""
        self.store = store
        self.control = control
        self.guards = fitting(store)
        self.admission = admission
        self.metrics = Unmeasured()
        self._settings = settings
        self.limit = 1 if settings.request_scope else store.most_together(settings)
        """Most commands decided together."""
        self._lines: defaultdict[str, Line] = defaultdict(lambda: Line(self.limit))
        self.host_line: HostLine | None = None
        """Has the combiner of the host decide what waits in a line; None: this process decides everything."""
        self.transactions = TransactionManager(settings, store, control, processes, self._lines.clear)
        """Surrounds every transaction, of a purchase or of a cart."""
        self.clock = scheduled_clock(Path(settings.gates), utc_now) if settings.gates else utc_now
        """The clock that decides whether a hold is due and whether the doors are open; tests set one of their own."""
        # A guard that cannot be right here has to say so now, not to the first buyer.
        self.transactions.guard(store.safe_guard)

    # -- buyers ---------------------------------------------------------------------------------------------------

    def buy(self, event: str, *, key: str, request: str, quantity: int, buyer: str | None, wish: Wish = ANY) -> Done:
        """Sell ``quantity`` tickets, all or none; of a hall, the seats of the ``wish``.

        Errors, definite: ``unknown_event``, ``over_limit``, ``sold_out``, ``doors_closed``, ``buyer_limit``,
        ``buyer_needed``, ``no_hall``, ``unknown_seat``, ``row_too_short``, ``seat_taken``, ``section_sold_out``,
        ``not_together``, ``key_reused``, ``overloaded``, ``lock_timeout``, ``contention``, ``switching``,
        ``storage_full``, ``storage_refused``, ``store_closed``; indefinite: ``not_durable``, ``outcome_unknown``.
        """
        order = _new("o")
        return self._mutate(event, Sell(key, request, order, quantity, buyer, wish=wish))

    def cancel(self, event: str, order: str, *, key: str, request: str) -> Done:
        """Give the tickets of an order back. Errors: as for ``buy``, and ``unknown_order``, ``not_open``."""
        _refuse_foreign(order, "unknown_order")
        return self._mutate(event, Cancel(key, request, order, operation=_new()))

    def hold(
        self, event: str, *, key: str, request: str, quantity: int, seconds: float, buyer: str | None, wish: Wish = ANY
    ) -> Done:
        """Set ``quantity`` tickets aside for ``seconds``, all or none.

        Errors: as for ``buy``, and ``hold_too_long``, ``too_many_held`` (definite).
        """
        hold = _new("h")
        return self._mutate(event, Hold(key, request, hold, quantity, seconds, buyer, wish))

    def confirm(self, event: str, hold: str, *, key: str, request: str, order: str = "") -> Done:
        """Turn a hold into an order; one that has expired is sold anew, under new numbers, if the places are there.

        The id of the order is ``order`` or, without it, a new one.

        Errors: as for ``buy``, and ``unknown_hold``, ``not_open`` (it was confirmed, released or sold anew already),
        ``hold_expired`` (the places are gone).
        """
        _refuse_foreign(hold, "unknown_hold")
        return self._mutate(event, Confirm(key, request, hold, order or _new("o")))

    def release(self, event: str, hold: str, *, key: str, request: str) -> Done:
        """Give the tickets of a hold back. Errors: as for ``buy``, and ``unknown_hold``, ``not_open``."""
        _refuse_foreign(hold, "unknown_hold")
        return self._mutate(event, Release(key, request, hold, _new()))

    def sweep(self, event: str) -> bool:
        """Expire the holds of an event that are due, if there are any, and finish the cart that a killed process left
        half written there. Errors: as for ``buy``."""
        with self.transactions.closing_if_not_durable():
            ends = self.store.next_expiry(event)
        if (ends is None or ends > self.clock()) and not self.store.is_unfinished(event):
            return False
        self._decided(event, Sweep())
        return True

    def look(self, event: str) -> tuple[View, AnswerTimes]:
        """The counters of an event, durable."""
        return self._read(event)

    def order(self, event: str, order: str) -> tuple[Order, View, AnswerTimes]:
        """One order as it stands, durable. Errors: ``unknown_order``."""
        _refuse_foreign(order, "unknown_order")
        view, times = self._read(event, order)
        found = view.orders.get(order)
        if found is None:
            raise Problem("unknown_order", version=view.version)
        return found, view, times

    def held(self, event: str, hold: str) -> Held | None:
        """One hold as it stands, durable; None where there is none. One that is due and that nobody decided about
        since still stands as held. Errors: ``unknown_hold`` for an id that none can have."""
        _refuse_foreign(hold, "unknown_hold")
        return self._read(event, commands=(Release("", "", hold),))[0].holds.get(hold)

    def audit(self, event: str) -> tuple[Event, Collection[Record]]:
        """The event and all its records in the order in which they were written, durable.

        A store that keeps many reads them as they are asked for; how many there are is known beforehand.
        """
        self.control.refuse_if_closed()
        if self.store.is_unfinished(event):
            # Else the other events would list a cart that this one has not.
            self._decided(event, Sweep())
        about, records, position = self.store.audit(event)
        self.transactions.make_durable(event, position)
        return about, records if isinstance(records, Collection) else list(records)

    def events(self, limit: int, after: str | None = None) -> tuple[list[View], str | None]:
        """The counters of the next ``limit`` events by id, and the last id of them if there are more.

        Only the names of the other events are read.
        """
        names = self.store.names()
        first = bisect.bisect_right(names, after) if after else 0
        views = []
        for name in names[first : first + limit]:
            try:
                views.append(self.look(name)[0])
            except Problem as problem:
                # Deleted just now, or damaged: whoever asks for this event is told so.
                if problem.code not in {"unknown_event", "corrupt_document"}:
                    raise
        return views, names[first + limit - 1] if len(names) > first + limit else None

    def hall(self, event: str) -> Hall:
        """The hall of an event. Errors: ``no_hall``."""
        hall = self.store.halls.of(self.about(event))
        if hall is None:
            raise Problem("no_hall")
        return hall

    def seats(self, event: str) -> tuple[View, AnswerTimes]:
        """The state of every seat of an event's hall, durable. Errors: ``no_hall``."""
        return self._timed(event, lambda: self.store.seats(event))

    def about(self, event: str) -> Event:
        """What an event was made as. Errors: ``unknown_event``."""
        return self.transactions.about(event, self.control.mode())

    def request_scope(self, event: str) -> contextlib.AbstractContextManager[None]:
        """With ``LASTSEAT_GUARD_SCOPE=request``, hold the guard around everything in this block; else nothing."""
        return self._held_throughout(event) if self._settings.request_scope else _nothing

    @contextlib.contextmanager
    def _held_throughout(self, event: str) -> Iterator[None]:
        deadline = time.monotonic() + self._settings.lock_timeout_s
        admission = self.admission
        if admission is not None:
            admission.enter(deadline)
        try:
            with self._guard_held(event, deadline):
                yield
        finally:
            if admission is not None:
                admission.leave()

    @contextlib.contextmanager
    def _guard_held(self, event: str, deadline: float) -> Iterator[None]:
        try:
            with self.control.transaction(deadline) as mode:
                guard = self.transactions.guard_for(event, mode)
                token = _request_mode.set(mode)
                try:
                    with self.transactions.closing_if_not_durable(), guard.around_request(event, deadline):
                        yield
                finally:
                    _request_mode.reset(token)
        except Switched:
            self.control.refresh()
            raise Problem("switching", retry_after_s=1) from None
        except LockLost as lost:
            self.transactions.mend(lost, deadline)
            raise Problem("switching", retry_after_s=1) from None

    # -- the admin ------------------------------------------------------------------------------------------------

    def create(self, event: Event, hall: Hall | None = None) -> View:
        """Make an event, durably, and before it the hall that it names.

        Errors, definite: ``event_exists``, ``switching``, ``storage_full``, ``storage_refused``, ``store_closed``;
        indefinite: ``not_durable``.
        """
        deadline = time.monotonic() + self._settings.lock_timeout_s
        creating = self.transactions.guard(self.store.safe_guard).creating(event.event)
        with (
            self.control.transaction(deadline),
            self.transactions.closing_if_not_durable(),
            storage_problems(),
            creating,
        ):
            if hall is not None:
                self.store.halls.keep(hall)
            self.store.create(event)
        return View(event)

    def delete(self, event: str, even_if_sold: int | None = None) -> None:
        """Remove an event when no purchase is under way anywhere.

        One that was not made for the lab is removed with tickets sold or held only if ``even_if_sold`` is the number
        of tickets sold. Its audit, if it has any record, is written into the data directory of this process first.

        Errors, definite: ``unknown_event``, ``event_sold``, ``corrupt_document``, ``contention``, ``switch_timeout``,
        ``storage_full``, ``storage_refused``, ``store_closed``; indefinite: ``not_durable``.
        """
        # Nothing that can fail here, apart from a sync, has changed anything.
        alone = self.control.alone(self._settings.lock_timeout_s)
        with self.transactions.closing_if_not_durable(), storage_problems(), alone:
            self.control.refuse_if_closed()
            if event not in self.store.names():
                raise Problem("unknown_event")
            # With an instant, as a decision does: so a cart that a killed process left half written is counted.
            view = self.store.view(event, now=self.clock())
            kept = None
            if not view.event.lab:
                self.transactions.make_durable(event, view.source)
                refuse_removal(view, even_if_sold)
                if view.version:
                    kept = self._keep_audit(event)
            # Before: what another process remembers of an event that may be gone is forgotten in any case.
            self.control.forget_events()
            try:
                self.store.delete(event) if view.event.lab else self.store.delete_at(event, view.version)
            except Problem as problem:
                if kept is not None and problem.kind.definite:
                    kept.unlink(missing_ok=True)
                raise

    def _keep_audit(self, event: str) -> Path:
        about, records, _ = self.store.audit(event)
        return keep_audit(self._settings.data, about, list(records), utc_now(), self.store.halls.of(about))

    def switch(self, wanted: str) -> Mode:
        """Make ``wanted`` (a guard's name, ``on`` or ``off``) the guard of all processes, drained.

        Errors: ``unknown_guard``, ``guard_unfit``, ``switch_timeout``; all definite, the guard is unchanged.
        """
        name = self.resolve(wanted)
        self.transactions.guard(name)
        return self.control.switch(name, self._settings.lock_timeout_s, self.transactions.waits_for_switch)

    def resolve(self, wanted: str) -> str:
        """The name of a guard that fits the store. Errors: ``unknown_guard``, ``guard_unfit``."""
        name = {"on": self.store.safe_guard, "off": OFF}.get(wanted, wanted)
        if name not in GUARDS:
            raise Problem("unknown_guard", f"The guards are: on, off, {', '.join(self.guards)}.", guards=self.guards)
        if name not in self.guards:
            raise Problem(
                "guard_unfit",
                f"Guard {name!r} does not fit store {self.store.name!r}. These do: {', '.join(self.guards)}.",
                guards=self.guards,
            )
        return name

    def check_ready(self) -> None:
        """Raise the ``Problem`` for which nothing can be sold now."""
        with self.control.transaction(time.monotonic() + self._settings.lock_timeout_s):
            self.store.names()

    def acting_guard(self, event: Event, mode: Mode) -> str:
        """The guard that an event obeys: an unsafe one acts only on events made for the lab."""
        return self.transactions.acting_guard(event, mode)

    # -- within ---------------------------------------------------------------------------------------------------

    def _mutate(self, event: str, command: Command) -> Done:
        outcome, times = self._decided(event, command)
        return done_of(outcome, times)

    def _decided(self, event: str, command: Command) -> tuple[Outcome, AnswerTimes]:
        self.control.refuse_if_closed()
        # An event that does not exist gets no line: otherwise made-up names would grow this process for ever.
        self.transactions.about(event, self.control.mode())
        self._reach("acquire", event, command.key)
        deadline = time.monotonic() + self._settings.lock_timeout_s
        mode = _request_mode.get()
        if mode is not None:  # whoever holds the guard for the whole request is inside already
            return self._have_decided(event, command, mode, deadline)
        return self.admitted(deadline, lambda: self._have_decided(event, command, None, deadline))

    def admitted(self, deadline: float, run: Callable[[], T]) -> T:
        """What ``run`` gives, inside the bounds of this process. Errors: ``overloaded``, and as of ``run``."""
        if self.admission is None:
            return run()
        self.admission.enter(deadline)
        try:
            return run()
        finally:
            self.admission.leave()

    def _have_decided(
        self, event: str, command: Command, mode: Mode | None, deadline: float
    ) -> tuple[Outcome, AnswerTimes]:
        def lead(take: Take) -> Purchases | None:
            if mode is not None:
                return self._transact(event, mode, take, deadline, command.key)
            # A line's leader is here for all of its line, so its own patience is what counts.
            if self._is_decided_elsewhere(event, take, deadline + ANSWER_PATIENCE_S):
                return None
            return self.transactions.in_current_epoch(
                deadline, lambda current: self._transact(event, current, take, deadline, command.key)
            )

        waited = False

        def has_to_wait() -> None:
            nonlocal waited
            waited = True
            self.metrics.queued(1)
            if self.transactions.gates is not None:
                self.transactions.gates.note("blocked", event, [command.key])

        try:
            waiting = self._lines[event].run(command, deadline, deadline + ANSWER_PATIENCE_S, lead, has_to_wait)
        finally:
            if waited:
                self.metrics.queued(-1)
        self._reach("answer", event, command.key)
        measured = waiting.measured
        if measured is None or waiting.outcome is None:
            raise RuntimeError("a purchase was answered without an outcome")
        times = AnswerTimes(waiting.wait_ms, measured.held_ms, measured.store_ms, measured.epoch)
        if waiting.asked_again:
            return told_again(waiting.command, waiting.outcome, of_an_engine=self.store.scope == "cluster"), times
        return waiting.outcome, times

    def _is_decided_elsewhere(self, event: str, take: Take, answer_deadline: float) -> bool:
        """Whether another process has decided what waits. Nothing is held meanwhile that a switch waits for."""
        host_line = self.host_line
        if host_line is None or not self.transactions.combines(event, self.control.mode()):
            return False
        decided = host_line.decide(event, take, answer_deadline)
        if not decided:
            self.control.refresh()  # it may have met another guard than the one that is remembered here
        return decided

    def decide_together(self, event: str, gathered: Sequence[Waiting], patience_s: float = math.inf) -> list[Waiting]:
        """Decide commands for an event that other processes of this host were asked for, at most ``limit`` in a
        transaction. Each has its outcome or its error then: those of the use cases, and ``NotCombined``.

        Returns those for which the guard was not free within ``patience_s``, and which still have time to wait for it.
        """
        blocked: list[Waiting] = []
        for first in range(0, len(gathered), self.limit):
            some = gathered[first : first + self.limit]
            deadline = min(time.monotonic() + patience_s, *[waiting.deadline for waiting in some])
            self._lines[event].decide(some, partial(self._lead_combined, event, deadline))
            blocked += [each for each in some if _may_wait_on(each)]
        return blocked

    def _lead_combined(self, event: str, deadline: float, take: Take) -> Purchases:
        def run(mode: Mode) -> Purchases:
            if not self.transactions.combines(event, mode):
                raise NotCombined
            return self._transact(event, mode, take, deadline, take.taken[0].command.key)

        return self.transactions.in_current_epoch(deadline, run)

    def _reach(self, gate: str, event: str, key: str) -> None:
        if self.transactions.gates is not None:
            self.transactions.gates.reach(gate, event, [key])

    def _transact(self, event: str, mode: Mode, take: Take, deadline: float, key: str) -> Purchases:
        guard = self.transactions.guard_for(event, mode)
        take.keep_the_line = guard.groups

        def taken() -> Sequence[Sequence[Command]]:
            self.metrics.took(transaction)
            return (take(),)

        transaction: Purchases = Transaction(
            self.store, (event,), taken, self._decide, deadline, epoch=mode.epoch, key=key, clock=self.clock,
            gates=self.transactions.gates, think=self._think,
        )  # fmt: skip
        self.carry_out(transaction, guard, lambda: [each.wait_ms for each in take.taken])
        return transaction

    def carry_out(self, transaction: Transaction[Any], guard: Guard, waits_ms: Callable[[], Sequence[float]]) -> None:
        """Run a transaction under its guard, durably. ``waits_ms``: how long each of its commands waited."""
        try:
            with self.transactions.closing_if_not_durable():
                guard.run(transaction)
        finally:
            self.metrics.gave_back(transaction)
        with self.transactions.closing_if_not_durable():
            transaction.reach("durable")
        began = time.perf_counter()
        for event, position in zip(transaction.answered, transaction.positions, strict=True):
            self.transactions.make_durable(event, position)
        transaction.store_ms += (time.perf_counter() - began) * 1e3
        self.metrics.transacted(transaction.records, waits_ms(), transaction.held_ms, transaction.store_ms)

    def _think(self) -> None:
        think(self._settings.think)

    def _decide(
        self, views: Sequence[View], commands: Sequence[Sequence[Command]], now: datetime
    ) -> tuple[list[Outcome], Sequence[View]]:
        self._think()
        return decide_all(views[0], commands[0], now), views

    def _read(self, event: str, order: str | None = None, commands: Sequence[Command] = ()) -> tuple[View, AnswerTimes]:
        return self._timed(event, lambda: self.store.view(event, commands, order=order))

    def _timed(self, event: str, read: Callable[[], View]) -> tuple[View, AnswerTimes]:
        self.control.refuse_if_closed()
        epoch = self.control.mode().epoch
        began = time.perf_counter()
        with self.transactions.closing_if_not_durable():
            view = read()
        self.transactions.make_durable(event, view.source)
        return view, AnswerTimes(store_ms=(time.perf_counter() - began) * 1e3, epoch=epoch)


def done_of(outcome: Outcome, times: AnswerTimes) -> Done:
    """What a mutation came to. Errors: the problem of a command that was refused."""
    if isinstance(outcome, Refusal):
        raise problem_of(outcome, times)
    if isinstance(outcome, Replay):
        return Done(outcome.record, replayed=True, times=times)
    if isinstance(outcome, Swept):
        raise TypeError("a sweep is no mutation that anybody asked for")
    return Done(outcome, replayed=False, times=times)


def problem_of(refusal: Refusal, times: AnswerTimes, **more: Any) -> Problem:
    """What to say of a command that was refused."""
    if refusal.seats:
        more["seats"] = refusal.seats
    return Problem(
        refusal.code,
        retry_after_s=refusal.retry_after_s,
        version=refusal.version,
        remaining=refusal.remaining,
        times=times,
        **more,
    )


def told_again(command: Command, outcome: Outcome, *, of_an_engine: bool) -> Outcome:
    """The outcome of a command that was asked again, since the process that may have decided it ended without a word.

    What is under its key and has its own order, hold or operation is the first answer. Errors: ``outcome_unknown`` for
    a refusal where what the process sent may still arrive in an engine.
    """
    if isinstance(outcome, Replay):
        record = outcome.record
        match command:
            case Sell(order=mine) | Confirm(order=mine):
                return record if record.order == mine else outcome
            case Hold(hold=mine):
                return record if record.hold == mine else outcome
            case Cancel(operation=mine) | Release(operation=mine):
                return record if record.operation == mine else outcome
    if of_an_engine and isinstance(outcome, Refusal):
        raise Problem("outcome_unknown")
    return outcome


def _may_wait_on(waiting: Waiting) -> bool:
    """Whether a command for which the guard was not free in time has time left; then its error is removed."""
    kept_out = isinstance(waiting.error, Problem) and waiting.error.code in _KEPT_OUT
    if not kept_out or time.monotonic() >= waiting.deadline:
        return False
    waiting.error = None
    return True


def _new(kind: str = "") -> str:
    """An id that nobody can guess: who knows an order's may cancel it."""
    return kind + os.urandom(8).hex()


def utc_now() -> datetime:
    """The instant, aware."""
    return datetime.now(UTC)


def think(delay: Think) -> None:
    """Let time pass as the settings say: sleeping as if for a network, or computing."""
    if not delay.high_ms:
        return
    lasts_s = random.uniform(delay.low_ms, delay.high_ms) / 1e3
    if not delay.compute:
        time.sleep(lasts_s)
        return
    # By the thread's own clock: threads that share the interpreter must not have less to compute each.
    until = time.thread_time() + lasts_s
    while time.thread_time() < until:
        sum(range(200))


def _refuse_foreign(name: str, code: str) -> None:
    """An id that no order and no hold can have is not looked for: a store may have another meaning for the empty name,
    or none for a letter in it."""
    if not _ID.fullmatch(name):
        raise Problem(code)
