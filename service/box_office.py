"""The use cases of the ticket office, top to bottom: buy, cancel, look, audit, and what the admin does.

Buying passes through here like this: stand in the event's line (``batch``), take part in the current epoch
(``control``), let the epoch's guard make *read → decide → write* atomic (``guards``), give the guard back, wait until
what was read or written is durable (``stores``), answer. No answer of any kind leaves before its version is durable.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from service.batch import Line, Take
from service.control import Control, Mode, Switched
from service.engine_control import EngineControl
from service.errors import Problem
from service.gates import Gates
from service.guards import GUARDS, Guard, Transaction, fitting, guard_class
from service.inventory import (
    Cancel,
    Command,
    Event,
    Order,
    Outcome,
    Record,
    Refusal,
    Replay,
    Sell,
    View,
    decide_all,
)
from service.settings import Settings, Think
from service.stores import CommitFailed, Store

# How much longer than for the guard somebody waits for an outcome that another thread is already deciding.
ANSWER_PATIENCE_S = 10.0

_nothing = contextlib.nullcontext()

# The mode of a request that holds the guard from its beginning to its end; None in every other request.
_request_mode: ContextVar[Mode | None] = ContextVar("request_mode", default=None)


@dataclass(frozen=True, slots=True)
class Times:
    """Where the milliseconds of one answer went, and the epoch it was decided under."""

    wait_ms: float = 0.0
    hold_ms: float = 0.0
    store_ms: float = 0.0
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A committed mutation, now or (``replayed``) earlier under the same key."""

    record: Record
    replayed: bool
    times: Times


class BoxOffice:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(self, settings: Settings, store: Store, control: Control | EngineControl, processes: int) -> None:
        self.store = store
        self.control = control
        self.guards = fitting(store)
        self._settings = settings
        self._processes = processes
        self._gates = Gates(settings.gates, settings.gates_patience_s) if settings.gates else None
        self._built: dict[str, Guard] = {}
        self._lines: defaultdict[str, Line] = defaultdict(
            lambda: Line(1 if settings.request_scope else settings.batch or store.default_batch)
        )
        self._events: dict[str, Event] = {}
        self._generation = -1
        # A guard that cannot be right here has to say so now, not to the first buyer.
        self._guard(store.safe_guard)

    # -- buyers ---------------------------------------------------------------------------------------------------

    def buy(self, event: str, *, key: str, request: str, quantity: int, buyer: str | None) -> Done:
        """Sell ``quantity`` tickets, all or none.

        Errors, definite: ``unknown_event``, ``over_limit``, ``sold_out``, ``doors_closed``, ``buyer_limit``,
        ``key_reused``, ``lock_timeout``, ``contention``, ``switching``, ``storage_full``, ``storage_refused``,
        ``store_closed``; indefinite: ``not_durable``, ``outcome_unknown``.
        """
        order = f"o{secrets.token_hex(8)}"
        return self._mutate(event, Sell(key, request, order, quantity, buyer))

    def cancel(self, event: str, order: str, *, key: str, request: str) -> Done:
        """Give the tickets of an order back. Errors: as for ``buy``, and ``unknown_order``, ``not_open``."""
        return self._mutate(event, Cancel(key, request, order))

    def look(self, event: str) -> tuple[View, Times]:
        """The counters of an event, durable."""
        return self._read(event)

    def order(self, event: str, order: str) -> tuple[Order, View, Times]:
        """One order as it stands, durable. Errors: ``unknown_order``."""
        view, times = self._read(event, order)
        found = view.orders.get(order)
        if found is None:
            raise Problem("unknown_order", version=view.version)
        return found, view, times

    def audit(self, event: str) -> tuple[Event, Collection[Record]]:
        """The event and all its records in the order in which they were written, durable.

        A store that keeps many reads them as they are asked for; how many there are is known beforehand.
        """
        self.control.refuse_if_closed()
        about, records, position = self.store.audit(event)
        self._make_durable(event, position)
        return about, records if isinstance(records, Collection) else list(records)

    def events(self) -> list[View]:
        """The counters of all events, by id."""
        views = []
        for name in self.store.names():
            try:
                views.append(self.look(name)[0])
            except Problem as problem:
                # Deleted just now, or damaged: it says so when it is asked for.
                if problem.code not in {"unknown_event", "corrupt_document"}:
                    raise
        return views

    def request_scope(self, event: str) -> contextlib.AbstractContextManager[None]:
        """With ``LASTSEAT_GUARD_SCOPE=request``, hold the guard around everything in this block; else nothing."""
        return self._held_throughout(event) if self._settings.request_scope else _nothing

    @contextlib.contextmanager
    def _held_throughout(self, event: str) -> Iterator[None]:
        deadline = time.monotonic() + self._settings.lock_timeout_s
        with self.control.transaction(deadline) as mode:
            guard = self._guard_for(event, mode)
            token = _request_mode.set(mode)
            try:
                with self._closing_if_not_durable(CommitFailed), guard.around_request(event, deadline):
                    yield
            except Switched:
                self.control.refresh()
                raise Problem("switching", retry_after_s=1) from None
            finally:
                _request_mode.reset(token)

    # -- the admin ------------------------------------------------------------------------------------------------

    def create(self, event: Event) -> View:
        """Make an event, durably.

        Errors, definite: ``event_exists``, ``switching``, ``storage_full``, ``storage_refused``, ``store_closed``;
        indefinite: ``not_durable``.
        """
        deadline = time.monotonic() + self._settings.lock_timeout_s
        with self.control.transaction(deadline), self._closing_if_not_durable():
            self.store.create(event)
        return View(event)

    def delete(self, event: str) -> None:
        """Remove an event when no purchase is under way anywhere.

        Errors, definite: ``unknown_event``, ``switch_timeout``, ``storage_refused``, ``store_closed``;
        indefinite: ``not_durable``.
        """
        with self.control.alone(self._settings.lock_timeout_s), self._closing_if_not_durable():
            self.control.refuse_if_closed()
            if event not in self.store.names():
                raise Problem("unknown_event")
            # Before: what another process remembers of an event that may be gone is forgotten in any case.
            self.control.forget_events()
            self.store.delete(event)

    def switch(self, wanted: str) -> Mode:
        """Make ``wanted`` (a guard's name, ``on`` or ``off``) the guard of all processes, drained.

        Errors: ``unknown_guard``, ``guard_unfit``, ``switch_timeout``; all definite, the guard is unchanged.
        """
        name = self.resolve(wanted)
        self._guard(name)
        return self.control.switch(name, self._settings.lock_timeout_s)

    def resolve(self, wanted: str) -> str:
        """The name of a guard that fits the store. Errors: ``unknown_guard``, ``guard_unfit``."""
        name = {"on": self.store.safe_guard, "off": "none"}.get(wanted, wanted)
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
        if event.lab or guard_class(mode.guard).safe(self.store.scope, self._processes):
            return mode.guard
        return self.store.safe_guard

    # -- within ---------------------------------------------------------------------------------------------------

    def _mutate(self, event: str, command: Command) -> Done:
        self.control.refuse_if_closed()
        # An event that does not exist gets no line: otherwise made-up names would grow this process for ever.
        self._about(event, self.control.mode())
        self._reach("acquire", event, command.key)
        deadline = time.monotonic() + self._settings.lock_timeout_s
        mode = _request_mode.get()

        def lead(take: Take) -> Transaction:
            if mode is not None:
                return self._transact(event, mode, take, deadline, command.key)
            return self._in_the_current_epoch(event, take, deadline, command.key)

        def has_to_wait() -> None:
            if self._gates is not None:
                self._gates.note("blocked", event, [command.key])

        waiting = self._lines[event].run(command, deadline, deadline + ANSWER_PATIENCE_S, lead, has_to_wait)
        self._reach("answer", event, command.key)
        transaction = waiting.transaction
        if transaction is None or waiting.outcome is None:
            raise RuntimeError("a purchase was answered without an outcome")
        times = Times(waiting.wait_ms, transaction.held_ms, transaction.store_ms, transaction.epoch)
        return _done(waiting.outcome, times)

    def _in_the_current_epoch(self, event: str, take: Take, deadline: float, key: str) -> Transaction:
        while True:
            try:
                with self.control.transaction(deadline) as mode:
                    return self._transact(event, mode, take, deadline, key)
            except Switched:
                # Decided under a guard that is not the one any more, and not written: the same commands again.
                self.control.refresh()
            if time.monotonic() >= deadline:
                raise Problem("switching", retry_after_s=1)

    def _reach(self, gate: str, event: str, key: str) -> None:
        if self._gates is not None:
            self._gates.reach(gate, event, [key])

    def _transact(self, event: str, mode: Mode, take: Take, deadline: float, key: str) -> Transaction:
        guard = self._guard_for(event, mode)
        take.keep_the_line = guard.groups
        transaction = Transaction(
            self.store, event, take, self._deliberate, deadline, epoch=mode.epoch, gates=self._gates, key=key,
            think=lambda: think(self._settings.think),
        )  # fmt: skip
        with self._closing_if_not_durable(CommitFailed):
            guard.run(transaction)
        transaction.reach("durable")
        began = time.perf_counter()
        self._make_durable(event, transaction.position)
        transaction.store_ms += (time.perf_counter() - began) * 1e3
        return transaction

    def _deliberate(self, view: View, commands: Sequence[Command]) -> list[Outcome]:
        think(self._settings.think)
        return decide_all(view, commands, datetime.now(UTC))

    def _read(self, event: str, order: str | None = None) -> tuple[View, Times]:
        self.control.refuse_if_closed()
        epoch = self.control.mode().epoch
        began = time.perf_counter()
        with self._closing_if_not_durable(CommitFailed):
            view = self.store.view(event, order=order)
        self._make_durable(event, view.source)
        return view, Times(store_ms=(time.perf_counter() - began) * 1e3, epoch=epoch)

    def _make_durable(self, event: str, position: object) -> None:
        with self._closing_if_not_durable():
            self.store.make_durable(event, position)
        if self.control.closed:
            # Another process met the failure meanwhile, and it may be about what was written here too.
            raise Problem("not_durable", "Another write to the disk failed at the same time.")

    def _closing_if_not_durable(self, failure: type[OSError] = OSError) -> _ClosingIfNotDurable:
        return _ClosingIfNotDurable(self.control, failure)

    def _guard(self, name: str) -> Guard:
        guard = self._built.get(name)
        if guard is None:
            # setdefault: of two threads that build one at once, both use the same.
            guard = self._built.setdefault(name, guard_class(name)(self._settings, self.store))
        return guard

    def _guard_for(self, event: str, mode: Mode) -> Guard:
        return self._guard(self.acting_guard(self._about(event, mode), mode))

    def _about(self, event: str, mode: Mode) -> Event:
        if mode.generation != self._generation:
            self._events.clear()
            self._lines.clear()
            self._generation = mode.generation
        about = self._events.get(event)
        if about is None:
            with self._closing_if_not_durable(CommitFailed):
                about = self._events[event] = self.store.view(event).event
        return about


class _ClosingIfNotDurable:
    """A failure of this kind inside the block closes the store. Errors: ``not_durable`` (indefinite)."""

    __slots__ = ("_control", "_failure")

    def __init__(self, control: Control | EngineControl, failure: type[OSError]) -> None:
        self._control = control
        self._failure = failure

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, self._failure):
            # A second sync would succeed without having written anything, so nobody may try.
            self._control.close_store()
            raise Problem("not_durable", f"The disk answered: {error.strerror}.") from error


def _done(outcome: Outcome, times: Times) -> Done:
    if isinstance(outcome, Refusal):
        raise Problem(
            outcome.code,
            retry_after_s=outcome.retry_after_s,
            version=outcome.version,
            remaining=outcome.remaining,
            times=times,
        )
    if isinstance(outcome, Replay):
        return Done(outcome.record, replayed=True, times=times)
    return Done(outcome, replayed=False, times=times)


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
