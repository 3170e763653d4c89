"""The use cases of the ticket office: what buyers do (buy, cancel, hold, look), and what the admin does.

A use case that changes an event is a command, and ``command_handler`` has it decided. No answer of any kind leaves
before its version is durable.
"""

from __future__ import annotations

import bisect
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.catalogue import GUARDS, OFF
from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import (
    Amend,
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
)
from service.rules.records import ANY, Held, Wish
from service.runtime.epoch import Mode
from service.runtime.files import storage_problems
from service.sales.audits import keep_audit, refuse_removal
from service.sales.command_handler import AnswerTimes, CommandHandler, utc_now

# The ids that this office makes are shorter; records that were written by hand may have longer ones.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Done(NamedTuple):
    """A mutation that was committed now or (``replayed``) earlier under the same key."""

    record: Record
    replayed: bool
    times: AnswerTimes


class BoxOffice(CommandHandler):
    """One per process; any number of threads or greenlets use it at once."""

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
        with self.transactions.closing_if_not_durable:
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
        """One hold as it stands, durable; None where there is none. A hold that has ended stands as held until the next
        decision about its event. Errors: ``unknown_hold`` for an id that none can have."""
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
            self.transactions.closing_if_not_durable,
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
        with self.transactions.closing_if_not_durable, storage_problems(), alone:
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

    def manage(self, event: str, command: Amend | Cancel) -> Done:
        """Change an event while it is sold, or cancel an order with a reason. Either leaves a record.

        Errors: as of ``cancel``, and ``too_many_sold``, ``hall_fixed`` (definite).
        """
        return done_of(*self._decided_alone(event, command))

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

    # -- within ---------------------------------------------------------------------------------------------------

    def _mutate(self, event: str, command: Command) -> Done:
        return done_of(*self._decided(event, command))

    def _read(self, event: str, order: str | None = None, commands: Sequence[Command] = ()) -> tuple[View, AnswerTimes]:
        return self._timed(event, lambda: self.store.view(event, commands, order=order))

    def _timed(self, event: str, read: Callable[[], View]) -> tuple[View, AnswerTimes]:
        self.control.refuse_if_closed()
        epoch = self.control.mode().epoch
        began = time.perf_counter()
        with self.transactions.closing_if_not_durable:
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


def _new(kind: str = "") -> str:
    """An id that nobody can guess: whoever knows the id of an order may cancel the order."""
    return kind + os.urandom(8).hex()


def _refuse_foreign(name: str, code: str) -> None:
    """Refuse an id that no order and no hold can have. A store may have another meaning for the empty id, or cannot
    look for a letter in it."""
    if not _ID.fullmatch(name):
        raise Problem(code)
