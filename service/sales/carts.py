"""The use case of a cart: tickets of several events in one purchase, all of them or none.

A part of the box office, in a file of its own. A cart is admitted like every purchase, takes part in the same epoch and
obeys the same guard. It stands in no line (``batch``), because it would have to stand in several. Where purchases hold
the guard for the whole request (``LASTSEAT_GUARD_SCOPE``), a cart holds it for its decision.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.catalogue import STORES
from service.errors import Problem
from service.experiments.wait_graph import WaitGraph
from service.guards import Guard, Transaction
from service.guards.transaction import LockOrder
from service.rules.carts import CartRefused, Granted, decide_cart
from service.rules.inventory import Command, Event, View
from service.rules.records import Record, Sell, Wish
from service.runtime.epoch import Mode
from service.sales.box_office import BoxOffice, problem_of
from service.sales.command_handler import AnswerTimes, think
from service.settings import Settings


class CartDone(NamedTuple):
    """A cart that was sold, now or (``replayed``) earlier under the same key: a record an event, in the order asked."""

    cart: str
    records: Mapping[str, Record]
    replayed: bool
    times: AnswerTimes


class Carts:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(self, settings: Settings, office: BoxOffice) -> None:
        self._settings = settings
        self._office = office
        self._transactions = office.transactions
        self._waits = WaitGraph(settings.data / "waits")

    def buy(self, items: Mapping[str, tuple[int, Wish]], *, key: str, request: str, buyer: str | None) -> CartDone:
        """Sell the given number of tickets in each event, or the seats of the wish, all or none.

        Errors: as of ``BoxOffice.buy``, and ``not_supported``, ``half_cart`` (definite). If one event is the
        cause, the problem names it in ``event``; ``lock_timeout`` in a deadlock has its events in ``deadlock``.
        """
        office = self._office
        office.control.refuse_if_closed()
        if not office.store.spans_events:
            raise Problem(
                "not_supported",
                f"Store {office.store.name!r} writes to one event at a time. Buy in each event separately, or let "
                f"LASTSEAT_STORE name one of these: {', '.join(each for each in STORES if STORES[each].spans_events)}. "
                "Nothing was written.",
            )
        self._about_all(items, office.control.mode())
        cart = f"c{secrets.token_hex(8)}"
        sales = {
            event: Sell(key, request, f"o{secrets.token_hex(8)}", quantity, buyer, cart, wish)
            for event, (quantity, wish) in items.items()
        }
        deadline = time.monotonic() + self._settings.lock_timeout_s
        transaction, times = office.admitted(
            deadline,
            lambda: self._transactions.in_current_epoch(
                deadline, lambda mode: self._transact(cart, key, sales, deadline, mode)
            ),
        )
        transaction.reach("answer")
        match transaction.outcomes:
            case Granted(records, replayed):
                return CartDone(records[0].cart, dict(zip(sales, records, strict=True)), replayed, times)
            case CartRefused(event, refusal):
                raise problem_of(refusal, times, event=event)
        raise RuntimeError("a cart was answered without an outcome")

    def _transact(
        self, cart: str, key: str, sales: Mapping[str, Sell], deadline: float, mode: Mode
    ) -> tuple[Transaction[Granted | CartRefused], AnswerTimes]:
        office = self._office
        about = self._about_all(sales, mode)
        arrived, entered = time.perf_counter(), 0.0

        def take() -> Sequence[Sequence[Command]]:
            nonlocal entered
            if not entered:
                entered = time.perf_counter()
                office.metrics.took(transaction)
            return [[sale] for sale in sales.values()]

        def decide(
            views: Sequence[View], _: Sequence[Sequence[Command]], now: datetime
        ) -> tuple[Granted | CartRefused, Sequence[View]]:
            think(self._settings.think)
            seen = dict(zip(sales, views, strict=True))
            decided = decide_cart(seen, sales, now)
            # Nobody is told anything about the events beside one that refuses, so nothing is decided of them: no hold
            # expires there.
            return decided, [seen[decided.event]] if isinstance(decided, CartRefused) else views

        transaction: Transaction[Granted | CartRefused] = Transaction(
            office.store, list(sales), take, decide, deadline, epoch=mode.epoch, key=key, clock=office.clock,
            gates=self._transactions.gates, lock_order=LockOrder(cart, self._lock_order(about), self._waits),
        )  # fmt: skip
        try:
            office.carry_out(transaction, self._guard(about, mode), lambda: [(entered - arrived) * 1e3])
        except Problem as problem:
            if "deadlock" in problem.extra:
                office.metrics.deadlocked()
            raise
        times = AnswerTimes((entered - arrived) * 1e3, transaction.held_ms, transaction.store_ms, mode.epoch)
        return transaction, times

    def _about_all(self, names: Mapping[str, object], mode: Mode) -> Sequence[Event]:
        """What the events were made as. Errors: ``unknown_event`` with its name."""
        found = []
        for name in names:
            try:
                found.append(self._transactions.about(name, mode))
            except Problem as problem:
                problem.extra.setdefault("event", name)
                raise
        return found

    def _guard(self, about: Sequence[Event], mode: Mode) -> Guard:
        """The guard of the epoch, unless it is unsafe and one of the events was not made for the lab: what else is in a
        cart cannot take the guard away from a shop's event."""
        acting = {self._transactions.acting_guard(event, mode) for event in about}
        return self._transactions.guard(acting.pop() if len(acting) == 1 else self._office.store.safe_guard)

    def _lock_order(self, about: Sequence[Event]) -> Sequence[str]:
        """The same order for all carts, by id; the buyer's order only in an experiment that wants the deadlock."""
        names = [event.event for event in about]
        as_asked = self._settings.locks_as_asked and all(event.lab for event in about)
        return names if as_asked else sorted(names)
