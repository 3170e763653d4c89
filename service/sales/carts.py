"""The use case of a cart: tickets of several events in one purchase, all of them or none.

A part of the box office, in a file of its own. A cart passes the same door (``admission``), takes part in the same
epoch and obeys the same guard as every purchase; it stands in no line (``batch``), for it would be in several. Where
purchases hold the guard for the whole request (``LASTSEAT_GUARD_SCOPE``), a cart holds it for its decision.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.errors import Problem
from service.experiments.wait_graph import Waits
from service.guards import Guard
from service.guards.cart_transaction import CartTransaction
from service.rules.carts import Granted, Refused
from service.rules.inventory import Event
from service.rules.records import Record, Sell
from service.runtime.epoch import Mode
from service.sales.box_office import BoxOffice, Times, think
from service.settings import Settings
from service.stores import CommitsCarts


@dataclass(frozen=True, slots=True)
class CartDone:
    """A cart that was sold, now or (``replayed``) earlier under the same key: a record an event, in the order asked."""

    cart: str
    records: Mapping[str, Record]
    replayed: bool
    times: Times


class Carts:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(self, settings: Settings, office: BoxOffice) -> None:
        self._settings = settings
        self._office = office
        self._transacting = office.transacting
        self._waits = Waits(settings.data / "waits")

    def buy(self, items: Mapping[str, int], *, key: str, request: str, buyer: str | None) -> CartDone:
        """Sell so many tickets of each event, all or none.

        Errors: as of ``BoxOffice.buy``, and ``not_supported``, ``half_cart`` (definite). Where one event is why, the
        problem names it in ``event``; ``lock_timeout`` in a deadlock has its events in ``deadlock``.
        """
        office = self._office
        office.control.refuse_if_closed()
        if not isinstance(office.store, CommitsCarts):
            raise Problem(
                "not_supported",
                f"Store {office.store.name!r} writes to one event at a time. Buy in each event by itself, or let "
                "LASTSEAT_STORE name json, journal, sqlite, postgres or redis. Nothing was written.",
            )
        self._about_all(items, office.control.mode())
        cart = f"c{secrets.token_hex(8)}"
        sales = {
            event: Sell(key, request, f"o{secrets.token_hex(8)}", quantity, buyer, cart)
            for event, quantity in items.items()
        }
        deadline = time.monotonic() + self._settings.lock_timeout_s
        if office.admission is None:
            return self._sold(cart, key, sales, deadline)
        office.admission.enter(deadline)
        try:
            return self._sold(cart, key, sales, deadline)
        finally:
            office.admission.leave()

    def _sold(self, cart: str, key: str, sales: Mapping[str, Sell], deadline: float) -> CartDone:
        transaction, mode = self._transacting.in_current_epoch(
            deadline, lambda current: (self._transact(cart, key, sales, deadline, current), current)
        )
        transaction.reach("answer")
        times = Times(transaction.wait_ms, transaction.held_ms, transaction.store_ms, mode.epoch)
        match transaction.decided:
            case Granted(records, replayed):
                return CartDone(records[0].cart, dict(zip(sales, records, strict=True)), replayed, times)
            case Refused(event, refusal):
                raise Problem(
                    refusal.code,
                    retry_after_s=refusal.retry_after_s,
                    event=event,
                    version=refusal.version,
                    remaining=refusal.remaining,
                    times=times,
                )
        raise RuntimeError("a cart was answered without an outcome")

    def _transact(self, cart: str, key: str, sales: Mapping[str, Sell], deadline: float, mode: Mode) -> CartTransaction:
        office = self._office
        about = self._about_all(sales, mode)
        transaction = CartTransaction(
            office.store, cart, key, sales, self._lock_order(about), deadline, self._waits,
            think=lambda: think(self._settings.think),
            clock=office.clock,
            entering=lambda: office.metrics.took(transaction),
            gates=self._transacting.gates,
        )  # fmt: skip
        try:
            with self._transacting.closing_if_not_durable():
                self._guard(about, mode).run_cart(transaction)
        except Problem as problem:
            if "deadlock" in problem.extra:
                office.metrics.deadlocked()
            raise
        finally:
            office.metrics.gave_back(transaction)
        transaction.reach("durable")
        began = time.perf_counter()
        for event, position in transaction.positions.items():
            self._transacting.make_durable(event, position)
        transaction.store_ms += (time.perf_counter() - began) * 1e3
        office.metrics.transacted(transaction.records, [transaction.wait_ms], transaction.held_ms, transaction.store_ms)
        return transaction

    def _about_all(self, names: Mapping[str, object], mode: Mode) -> Sequence[Event]:
        """What the events were made as. Errors: ``unknown_event`` with its name."""
        found = []
        for name in names:
            try:
                found.append(self._transacting.about(name, mode))
            except Problem as problem:
                problem.extra.setdefault("event", name)
                raise
        return found

    def _guard(self, about: Sequence[Event], mode: Mode) -> Guard:
        """The guard of the epoch, unless it is unsafe and one of the events is not there for the lab: a shop's event
        cannot be disarmed by what else lies in a cart."""
        acting = {self._transacting.acting_guard(event, mode) for event in about}
        return self._transacting.guard(acting.pop() if len(acting) == 1 else self._office.store.safe_guard)

    def _lock_order(self, about: Sequence[Event]) -> Sequence[str]:
        """One order for all carts, by id; that of the buyer only in an experiment that wants the deadlock."""
        names = [event.event for event in about]
        as_asked = self._settings.locks_as_asked and all(event.lab for event in about)
        return names if as_asked else sorted(names)
