"""The command handler: it has a command about an event decided, together with others, under the guard, durably.

A command stands in the event's line (``batch``), takes part in the current epoch (``switch``), has the epoch's guard
make *read → decide → write* atomic (``guards``), and waits until what was read or written is durable (``stores``).
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from service.errors import Problem
from service.experiments.scheduled_clock import scheduled_clock
from service.guards import Guard, LockLost, Transaction, fitting
from service.guards.transaction import LockOrder
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Hold,
    Outcome,
    Refusal,
    Release,
    Replay,
    Sell,
    View,
    decide_all,
)
from service.runtime.epoch import Mode, Switched
from service.runtime.metrics import Unmeasured
from service.sales.admission import Admission
from service.sales.batch import Line, Purchases, Take, Waiting
from service.sales.host_line.client import HostLine
from service.sales.transaction_manager import TransactionManager
from service.settings import Settings, Think
from service.stores.base import Store
from service.switch.engine import EngineControl
from service.switch.shared_memory import Control

T = TypeVar("T")

# How much longer than for the guard a command waits for an outcome that another thread is deciding.
ANSWER_PATIENCE_S = 10.0
_KEPT_OUT = frozenset({"lock_timeout", "switching", "contention"})
"""Problems of a guard that was not free in time: nothing was written."""

Decide = Callable[[Sequence[View], Sequence[Sequence[Command]], datetime], tuple[Sequence[Outcome], Sequence[View]]]
"""What a ``Transaction`` decides by."""

_nothing = contextlib.nullcontext()

# The mode of a request that holds the guard from its beginning to its end; None in every other request.
_request_mode: ContextVar[Mode | None] = ContextVar("request_mode", default=None)


class AnswerTimes(NamedTuple):
    """Where the milliseconds of one answer went, and the epoch it was decided under."""

    wait_ms: float = 0.0
    hold_ms: float = 0.0
    store_ms: float = 0.0
    epoch: int | None = None


class NotCombined(Exception):
    """Under the guard that acts now, a process may not decide for others; nothing was written."""


class CommandHandler:
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
                    with self.transactions.closing_if_not_durable, guard.around_request(event, deadline):
                        yield
                finally:
                    _request_mode.reset(token)
        except Switched:
            self.control.refresh()
            raise Problem("switching", retry_after_s=1) from None
        except LockLost as lost:
            self.transactions.repair(lost, deadline)
            raise Problem("switching", retry_after_s=1) from None

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

    def _decided_alone(self, event: str, command: Command) -> tuple[Outcome, AnswerTimes]:
        """The outcome of a command that stands in no line. The rules decide it here, whatever the guard translates."""
        self.control.refuse_if_closed()
        deadline = time.monotonic() + self._settings.lock_timeout_s

        def run(mode: Mode) -> tuple[Outcome, AnswerTimes]:
            transaction = self._transaction(
                event, mode, lambda: (command,), deadline, command.key,
                decide=lambda views, _, now: (decide_all(views[0], (command,), now), views),
                lock_order=LockOrder(command.key, (event,)),
            )  # fmt: skip
            self.carry_out(transaction, self.transactions.guard_for(event, mode), lambda: [0.0])
            [outcome] = transaction.outcomes or ()
            return outcome, AnswerTimes(0.0, transaction.held_ms, transaction.store_ms, mode.epoch)

        return self.transactions.in_current_epoch(deadline, run)

    def _transact(self, event: str, mode: Mode, take: Take, deadline: float, key: str) -> Purchases:
        guard = self.transactions.guard_for(event, mode)
        take.keep_the_line = guard.groups
        transaction = self._transaction(event, mode, take, deadline, key, decide=self._decide)
        self.carry_out(transaction, guard, lambda: [each.wait_ms for each in take.taken])
        return transaction

    def _transaction(
        self,
        event: str,
        mode: Mode,
        take: Callable[[], Sequence[Command]],
        deadline: float,
        key: str,
        *,
        decide: Decide,
        lock_order: LockOrder | None = None,
    ) -> Purchases:
        def taken() -> Sequence[Sequence[Command]]:
            self.metrics.took(transaction)
            return (take(),)

        transaction: Purchases = Transaction(
            self.store, (event,), taken, decide, deadline, epoch=mode.epoch, key=key, clock=self.clock,
            gates=self.transactions.gates, think=self._think, lock_order=lock_order,
        )  # fmt: skip
        return transaction

    def carry_out(self, transaction: Transaction[Any], guard: Guard, waits_ms: Callable[[], Sequence[float]]) -> None:
        """Run a transaction under its guard, durably. ``waits_ms``: how long each of its commands waited."""
        try:
            with self.transactions.closing_if_not_durable:
                guard.run(transaction)
        finally:
            self.metrics.gave_back(transaction)
        with self.transactions.closing_if_not_durable:
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
