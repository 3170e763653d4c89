"""The rules of selling tickets, pure: what is wanted, what is known, what is decided.

A *command* is what somebody wants (``Sell``, ``Cancel``); its ids are chosen beforehand, so that deciding it twice
on the same view gives the same answer. A *view* is what a store loaded for some commands. ``decide`` looks at one
command and a view and answers with a ``Record`` (a line of the audit, to be appended), a ``Replay`` (it was decided
before) or a ``Refusal``. ``decide_all`` decides a list in order, each on the view that the ones before it left.

Nothing here does input or output, waits, or knows of locks. So the same rules serve a JSON file and a database
engine, and a guard that translates commands into an engine's own language can be tested against ``decide``.

What always holds after any list of decisions on a true view: ``sold + held <= capacity``; versions grow by one for
each record; ticket numbers are given out in order, from 1, and never twice; a key commits at most one record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A show with a fixed number of tickets. Never changes after it was created."""

    event: str
    name: str
    capacity: int
    opens_at: datetime | None = None
    max_per_order: int = 10
    max_per_buyer: int | None = None
    lab: bool = False
    """Made for an experiment: only such an event obeys a guard that does not exclude."""


class Sell(msgspec.Struct, frozen=True):
    """Sell ``quantity`` tickets to one order, all or none."""

    key: str
    request: str
    """Fingerprint of the whole request; a key that comes again with another one is refused."""
    order: str
    quantity: int
    buyer: str | None = None


class Cancel(msgspec.Struct, frozen=True):
    """Give the tickets of an order back."""

    key: str
    request: str
    order: str


Command = Sell | Cancel


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One committed mutation: a line of the audit, with what is needed to repeat its answer."""

    version: int
    kind: Literal["sold", "cancelled"]
    key: str
    order: str
    quantity: int
    tickets: tuple[int, ...]
    remaining: int
    """What was left right after this mutation; not part of the public audit."""
    request: str = ""
    buyer: str | None = None

    def audit_line(self) -> dict[str, object]:
        """The public part: no buyer, no fingerprint."""
        return {
            "version": self.version,
            "kind": self.kind,
            "key": self.key,
            "order": self.order,
            "quantity": self.quantity,
            "tickets": self.tickets,
        }


class Order(msgspec.Struct, frozen=True):
    """An order as it stands."""

    order: str
    quantity: int
    tickets: tuple[int, ...]
    status: Literal["sold", "cancelled"]
    buyer: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """The key was committed before, with this record: the first answer is due again."""

    record: Record


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing was or will be written for this command. ``code`` is one of ``errors.TABLE``."""

    code: str
    version: int
    remaining: int
    retry_after_s: int | None = None


Outcome = Record | Replay | Refusal


@dataclass(slots=True)
class View:
    """What a store loaded for some commands: the counters, and only what those commands need to see.

    ``apply`` moves it on by a record. ``source`` is the store's own business: where it read this, so that it can
    write the next state or notice that somebody else did.
    """

    event: Event
    version: int = 0
    sold: int = 0
    held: int = 0
    next_ticket: int = 1
    keys: dict[str, Record] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    bought: dict[str, int] = field(default_factory=dict)
    """Tickets that each asked-for buyer has in open orders; filled only where the event limits buyers."""
    source: object = None

    @property
    def remaining(self) -> int:
        return self.event.capacity - self.sold - self.held

    def apply(self, record: Record) -> None:
        """Take a record into the counters, the keys and the orders."""
        given = record.quantity if record.kind == "sold" else -record.quantity
        self.version = record.version
        self.sold += given
        if record.kind == "sold":
            self.next_ticket += record.quantity
        self.keys[record.key] = record
        self.orders[record.order] = order_after(record, self.orders.get(record.order))
        if record.buyer is not None and self.event.max_per_buyer is not None:
            self.bought[record.buyer] = self.bought.get(record.buyer, 0) + given


def order_after(record: Record, before: Order | None) -> Order:
    """The order that a record leaves."""
    buyer = record.buyer if before is None else before.buyer
    return Order(record.order, record.quantity, record.tickets, record.kind, buyer)


def decide(view: View, command: Command, now: datetime) -> Outcome:
    """Decide one command on a view at the instant ``now`` (aware, UTC); changes nothing."""
    known = view.keys.get(command.key)
    if known is not None:
        if known.request != command.request:
            return Refusal("key_reused", view.version, view.remaining)
        return Replay(known)
    if isinstance(command, Sell):
        return _sell(view, command, now)
    return _cancel(view, command)


def _sell(view: View, command: Sell, now: datetime) -> Record | Refusal:
    event = view.event
    if command.quantity > event.max_per_order:
        return Refusal("over_limit", view.version, view.remaining)
    if event.opens_at is not None and now < event.opens_at:
        wait_s = int((event.opens_at - now).total_seconds()) + 1
        return Refusal("doors_closed", view.version, view.remaining, retry_after_s=wait_s)
    if command.buyer is not None and event.max_per_buyer is not None:
        bought = view.bought.get(command.buyer, 0)
        if bought + command.quantity > event.max_per_buyer:
            return Refusal("buyer_limit", view.version, view.remaining)
    if command.quantity > view.remaining:
        return Refusal("sold_out", view.version, view.remaining)
    return Record(
        version=view.version + 1,
        kind="sold",
        key=command.key,
        order=command.order,
        quantity=command.quantity,
        tickets=tuple(range(view.next_ticket, view.next_ticket + command.quantity)),
        remaining=view.remaining - command.quantity,
        request=command.request,
        buyer=command.buyer,
    )


def _cancel(view: View, command: Cancel) -> Record | Refusal:
    order = view.orders.get(command.order)
    if order is None:
        return Refusal("unknown_order", view.version, view.remaining)
    if order.status != "sold":
        return Refusal("not_open", view.version, view.remaining)
    return Record(
        version=view.version + 1,
        kind="cancelled",
        key=command.key,
        order=order.order,
        quantity=order.quantity,
        tickets=order.tickets,
        remaining=view.remaining + order.quantity,
        request=command.request,
        buyer=order.buyer,
    )


def decide_all(view: View, commands: Iterable[Command], now: datetime) -> list[Outcome]:
    """Decide commands in order, each on the view that the ones before it left; the view is moved on."""
    outcomes: list[Outcome] = []
    for command in commands:
        outcome = decide(view, command, now)
        if isinstance(outcome, Record):
            view.apply(outcome)
        outcomes.append(outcome)
    return outcomes


def records_of(outcomes: Sequence[Outcome]) -> list[Record]:
    """The records among the outcomes, in order: what is to be appended."""
    return [outcome for outcome in outcomes if isinstance(outcome, Record)]


def replay(event: Event, records: Iterable[Record]) -> View:
    """The view that a list of records leaves, every key and order in it."""
    view = View(event)
    for record in records:
        view.apply(record)
    return view
