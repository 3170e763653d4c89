"""The pure rules of selling tickets: commands, views, and the decision about a command on a view.

A *command* says what somebody wants (``Sell``, ``Hold``, …); its ids are chosen beforehand, so that deciding it twice
on the same view gives the same answer. A *view* is what a store loaded for some commands. ``decide`` looks at one
command and a view and answers with a ``Record`` (a line of the audit, to be appended), a ``Replay`` (it was decided
before) or a ``Refusal``. ``decide_all`` decides a list in order, each on the view that the ones before it left.

A *hold* sets tickets aside until an instant. Whether that has passed is decided here, by the ``now`` of the decision
and by nothing else: no timer ends a hold. So before anything is decided, also a refusal, the holds that are due are
expired, each with a record of its own. Hence a late payment has one of exactly two results: either the hold was not due
at the instant of the decision, and it is confirmed; or it was due, its places are free, and the confirmation is decided
as a new sale on the view that the expiry left. A hold that has expired stays expired when the clock goes back.

Nothing here does input or output, waits, or knows of locks. So the same rules serve a JSON file and a database
engine, and a guard that translates commands into an engine's own language can be tested against ``decide``.

An event with a hall sells seats beside numbers. A hold keeps its seats, and a late payment gets exactly these or none.
Why somebody cannot have seats is told in a fixed order: there are none of that name; what the event never allows; the
doors; the buyer's limit; the wanted seats that are taken; too few that are free; not as many side by side.

What always holds after any list of decisions on a true view: ``sold + held <= capacity``; versions grow by one for
each record; ticket numbers are given out in order, from 1, and never twice; a key commits at most one record; a hold
becomes at most one order; a seat belongs to at most one open order or hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from service.rules.halls import FREE, HELD, SOLD, Hall
from service.rules.records import (
    ANY,
    CHANGES,
    Amend,
    Cancel,
    Command,
    Confirm,
    Event,
    Held,
    Hold,
    Kind,
    Order,
    Outcome,
    Record,
    Refusal,
    Release,
    Replay,
    Sell,
    Sweep,
    Swept,
    Wish,
    due_at,
    hold_after,
    order_after,
)

__all__ = [
    "Amend", "Cancel", "Command", "Confirm", "Event", "Held", "Hold", "Order", "Outcome", "Record", "Refusal",
    "Release", "Replay", "Sell", "Sweep", "Swept", "View", "Wish", "decide", "decide_all", "due_at", "expire",
    "hold_after", "order_after", "records_of", "replay", "seat",
]  # fmt: skip

_STATES = {kind: SOLD if sold > 0 else HELD if held > 0 else FREE for kind, (sold, held, _) in CHANGES.items()}
"""The state in which a record of each kind leaves its seats."""


@dataclass(slots=True)
class View:
    """What a store loaded for some commands: the counters, and only what those commands need to see.

    ``apply`` moves it on by a record; ``decide_all`` puts what is to be written into ``fresh``. ``source`` belongs to
    the store: the place where it read this, so that it can write the next state or notice that somebody else did.
    """

    event: Event
    version: int = 0
    sold: int = 0
    held: int = 0
    next_ticket: int = 1
    keys: dict[str, Record] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    """The holds that the commands name, as they stand; a store may show more."""
    due: Sequence[Held] = ()
    """The open holds that have ended by the ``now`` of the decision, in the order in which they expire."""
    bought: dict[str, int] = field(default_factory=dict)
    """Tickets that each asked-for buyer has in open orders and holds; filled only where the event limits buyers."""
    hall: Hall | None = None
    """Of an event that sells seats."""
    seats: bytearray = field(default_factory=bytearray)
    """With a hall, the state of each seat at its index: at least of those that the commands name, of those of the holds
    that they confirm, and of the sections of which they want the best. The others may stand there as free."""
    source: object = None
    fresh: list[Record] = field(default_factory=list, compare=False)
    """The records that were decided on this view and are to be appended, in order, those of expired holds included."""

    @property
    def remaining(self) -> int:
        return self.event.capacity - self.sold - self.held

    def refusal(self, code: str, retry_after_s: int | None = None, seats: tuple[str, ...] = ()) -> Refusal:
        """A refusal that tells what this view shows."""
        return Refusal(code, self.version, self.remaining, retry_after_s, seats)

    def is_free(self, seat: str) -> bool:
        """Whether there is such a seat in the hall, and it is free."""
        index = None if self.hall is None else self.hall.index(seat)
        return index is not None and self.seats[index] == FREE

    def show_order(self, record: Record) -> None:
        """Let the view have the order of a record as the record leaves it."""
        self.orders[record.order] = order_after(record, self.orders.get(record.order))

    def show_hold(self, record: Record) -> None:
        """Let the view have the hold of a record as the record leaves it, if the record that made it is known."""
        found = hold_after(record, self.holds.get(record.hold))
        if found is not None:
            self.holds[record.hold] = found

    def apply(self, record: Record) -> None:
        """Take a record into the counters, the keys, the orders and the holds."""
        sold, held, numbered = CHANGES[record.kind]
        self.version = record.version
        if record.about is not None:
            self.event = record.about
        self.sold += sold * record.quantity
        self.held += held * record.quantity
        if numbered:
            self.next_ticket += record.quantity
        if record.key:
            self.keys[record.key] = record
        if record.order:
            self.show_order(record)
        if record.hold:
            self.show_hold(record)
        if record.buyer is not None and self.event.max_per_buyer is not None:
            self.bought[record.buyer] = self.bought.get(record.buyer, 0) + record.taken
        if self.hall is not None:
            seat(self.hall, self.seats, record)


def seat(hall: Hall, states: bytearray, record: Record) -> None:
    """Let the seats of a record have the state in which it leaves them. Seats that the hall has not are passed over."""
    for each in record.seats:
        index = hall.index(each)
        if index is not None:
            states[index] = _STATES[record.kind]


def decide(view: View, command: Command, now: datetime) -> Outcome:
    """Decide one command on a view at the instant ``now`` (aware, UTC); changes nothing.

    No hold may be due any more: ``decide_all`` has expired them. Raises ``ValueError`` where one is.
    """
    answered = _answered(view, command)
    if answered is not None:
        return answered
    if view.due:
        raise ValueError("nothing is decided before the holds that are due have expired")
    decided: Outcome
    match command:
        case Sell():
            decided = _sell(view, command, now)
        case Cancel():
            decided = _cancel(view, command)
        case Hold():
            decided = _hold(view, command, now)
        case Confirm():
            decided = _confirm(view, command)
        case Release():
            decided = _release(view, command)
        case Amend():
            decided = _amend(view, command)
        case Sweep():
            decided = Swept(view.version, view.remaining)
    return decided


def _answered(view: View, command: Command) -> Replay | Refusal | None:
    """The outcome under a key that was committed before: nothing is decided for it, and no hold expires."""
    known = view.keys.get(command.key)
    if known is None:
        return None
    return Replay(known) if known.request == command.request else view.refusal("key_reused")


def _granted(view: View, command: Sell | Hold, now: datetime) -> tuple[str, ...] | Refusal:
    """The seats for this buyer, none where the event has no hall; or why they cannot have the tickets now."""
    code, unknown = _unknown(view.hall, command.wish)
    opens_at, wait_s = view.event.opens_at, None
    code = code or _never(view, command)
    if code is None and opens_at is not None and now < opens_at:
        code = "doors_closed"
        wait_s = -((now - opens_at) // timedelta(seconds=1))  # rounded up, so that the doors are open after the wait
    if code is None and view.event.closes_at is not None and now >= view.event.closes_at:
        code = "doors_closed"
    if code is None and _passes_buyer_limit(view, command.buyer, command.quantity):
        code = "buyer_limit"
    if code is not None:
        return view.refusal(code, wait_s, unknown)
    seats = () if view.hall is None else _seats(view, view.hall, command)
    if isinstance(seats, Refusal):
        return seats
    code = _not_now(view, command)
    return seats if code is None else view.refusal(code)


def _unknown(hall: Hall | None, wish: Wish) -> tuple[str | None, tuple[str, ...]]:
    """Why there are no such seats, and which; None if there are."""
    if hall is None:
        return None if wish == ANY else "no_hall", ()
    unknown = hall.missing(wish.seats)
    return "unknown_seat" if unknown or not hall.has(wish.section) else None, unknown


def _never(view: View, command: Sell | Hold) -> str | None:
    """The event's own rule that the command breaks, however many tickets there are."""
    event, wish = view.event, command.wish
    if command.quantity > event.max_per_order:
        return "over_limit"
    if wish.together and view.hall is not None and command.quantity > view.hall.longest_row(wish.section):
        return "row_too_short"
    if command.buyer is None and event.max_per_buyer is not None:
        return "buyer_needed"
    if isinstance(command, Hold) and event.max_hold_s is not None and command.seconds > event.max_hold_s:
        return "hold_too_long"
    return None


def _seats(view: View, hall: Hall, command: Sell | Hold) -> tuple[str, ...] | Refusal:
    """The wanted seats, or the best; or which are taken, or what is missing."""
    wish = command.wish
    if wish.seats:
        taken = tuple(each for each in wish.seats if not view.is_free(each))
        return view.refusal("seat_taken", seats=taken) if taken else wish.seats
    if view.seats.count(FREE, *hall.span(wish.section)) < command.quantity:
        return view.refusal("section_sold_out" if wish.section else "sold_out")
    best = hall.best(view.seats, command.quantity, wish.section, together=wish.together)
    return view.refusal("not_together") if best is None else tuple(map(hall.seat, best))


def _not_now(view: View, command: Sell | Hold) -> str | None:
    if command.quantity > view.remaining:
        return "sold_out"
    most = view.event.max_held
    if most is not None and isinstance(command, Hold) and view.held + command.quantity > most:
        return "too_many_held"
    return None


def _passes_buyer_limit(view: View, buyer: str | None, quantity: int) -> bool:
    most = view.event.max_per_buyer
    return buyer is not None and most is not None and view.bought.get(buyer, 0) + quantity > most


def _sell(view: View, command: Sell, now: datetime) -> Record | Refusal:
    seats = _granted(view, command, now)
    if isinstance(seats, Refusal):
        return seats
    return _record(view, "sold", command, command, seats=seats, order=command.order, cart=command.cart)


def _hold(view: View, command: Hold, now: datetime) -> Record | Refusal:
    seats = _granted(view, command, now)
    if isinstance(seats, Refusal):
        return seats
    expires_at = now + timedelta(seconds=command.seconds)
    return _record(view, "held", command, command, seats=seats, hold=command.hold, expires_at=expires_at)


def _confirm(view: View, command: Confirm) -> Record | Refusal:
    held = view.holds.get(command.hold)
    if held is None:
        return view.refusal("unknown_hold")
    if held.status == "expired":
        return _sell_late(view, command, held)
    if held.status != "held":
        return view.refusal("not_open")
    return _record(
        view, "confirmed", command, held, held.tickets, seats=held.seats, order=command.order, hold=held.hold
    )


def _sell_late(view: View, command: Confirm, held: Held) -> Record | Refusal:
    """A new sale for an expired hold, of exactly its seats where it has some. The doors were open when it was made, and
    it was within the limit of an order."""
    if held.quantity > view.remaining or not all(map(view.is_free, held.seats)):
        return view.refusal("hold_expired")
    if _passes_buyer_limit(view, held.buyer, held.quantity):
        return view.refusal("buyer_limit")
    return _record(view, "sold", command, held, seats=held.seats, order=command.order, hold=held.hold)


def _release(view: View, command: Release) -> Record | Refusal:
    held = view.holds.get(command.hold)
    if held is None:
        return view.refusal("unknown_hold")
    if held.status != "held":
        return view.refusal("not_open")
    return _record(
        view, "released", command, held, held.tickets, seats=held.seats, hold=held.hold, operation=command.operation
    )


def _cancel(view: View, command: Cancel) -> Record | Refusal:
    order = view.orders.get(command.order)
    if order is None or not command.order:  # the records of holds have no order's id: what stands there is no order
        return view.refusal("unknown_order")
    if order.status != "sold":
        return view.refusal("not_open")
    return _record(
        view,
        "cancelled",
        command,
        order,
        order.tickets,
        seats=order.seats,
        order=order.order,
        reason=command.reason,
        operation=command.operation,
    )


def _amend(view: View, command: Amend) -> Record | Refusal:
    event = msgspec.structs.replace(view.event, **{name: getattr(command, name) for name in command.fields})
    if view.hall is not None and event.capacity != view.hall.size:
        return view.refusal("hall_fixed")
    if event.capacity < view.sold + view.held:
        return view.refusal("too_many_sold")
    remaining = event.capacity - view.sold - view.held
    return Record(
        view.version + 1, "amended", command.key, "", 0, (), remaining, command.request, about=event,
        capacity_before=view.event.capacity,
    )  # fmt: skip


def _record(
    view: View,
    kind: Kind,
    command: Command,
    about: Sell | Hold | Held | Order,
    tickets: tuple[int, ...] | None = None,
    *,
    seats: tuple[str, ...],
    order: str = "",
    hold: str = "",
    expires_at: datetime | None = None,
    cart: str = "",
    reason: str = "",
    operation: str = "",
) -> Record:
    """The event's next record. It has the quantity and the buyer of ``about``, and new numbers without ``tickets``."""
    sold, held, _ = CHANGES[kind]
    return Record(
        version=view.version + 1,
        kind=kind,
        key=command.key,
        order=order,
        quantity=about.quantity,
        tickets=tuple(range(view.next_ticket, view.next_ticket + about.quantity)) if tickets is None else tickets,
        remaining=view.remaining - (sold + held) * about.quantity,
        request=command.request,
        buyer=about.buyer,
        hold=hold,
        expires_at=expires_at,
        cart=cart,
        seats=seats,
        reason=reason,
        operation=operation,
    )


def decide_all(view: View, commands: Iterable[Command], now: datetime) -> list[Outcome]:
    """Decide commands in order, each on the view that the ones before it left; the view is moved on.

    ``now`` must be the instant for which the view was loaded, else other holds are due than the view has. What is to be
    appended is in ``view.fresh``; a refusal can have something to append too, the holds that expired before it.
    """
    outcomes: list[Outcome] = []
    for command in commands:
        if view.due and _answered(view, command) is None:
            expire(view)
        outcome = decide(view, command, now)
        if isinstance(outcome, Record):
            _write(view, outcome)
        outcomes.append(outcome)
    return outcomes


def expire(view: View) -> None:
    """Expire the holds that are due, in order, each with a record and a version of its own."""
    due, view.due = view.due, ()
    for held in due:
        _write(view, _record(view, "expired", Sweep(), held, held.tickets, seats=held.seats, hold=held.hold))


def _write(view: View, record: Record) -> None:
    view.apply(record)
    view.fresh.append(record)


def records_of(outcomes: Sequence[Outcome]) -> list[Record]:
    """The records among the outcomes, in order: those that buyers asked for, without the holds that expired before."""
    return [outcome for outcome in outcomes if isinstance(outcome, Record)]


def replay(event: Event, records: Iterable[Record], hall: Hall | None = None) -> View:
    """The view after a list of records, with every key, order and hold."""
    view = View(event, hall=hall, seats=bytearray(hall.size if hall else 0))
    for record in records:
        view.apply(record)
    return view
