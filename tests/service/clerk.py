"""An honest clerk: the model that the office is compared with. One drawer of slips, counted anew for every question.

It knows nothing of versions of views, indexes, heaps or counters: what is left is the capacity without the slips that
stand open, found by looking at all of them. So it is slow, and a mistake in it is not the same mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from service.rules.inventory import (
    Amend,
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Refusal,
    Release,
    Replay,
    Sell,
    Swept,
    Wish,
)

Answer = tuple[Any, ...]


@dataclass
class Slip:
    """An order or a hold."""

    name: str
    quantity: int
    tickets: list[int]
    buyer: str | None
    state: str
    seats: list[str] = field(default_factory=list)
    made: int = 0
    until: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state in {"held", "sold"}


@dataclass
class Clerk:
    event: Event
    rows: list[tuple[str, list[str]]] = field(default_factory=list)
    """With a hall: the section and the seats of each row."""
    audit: list[dict[str, Any]] = field(default_factory=list)
    orders: dict[str, Slip] = field(default_factory=dict)
    holds: dict[str, Slip] = field(default_factory=dict)
    kept: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    numbers: int = 0

    @property
    def left(self) -> int:
        return self.event.capacity - sum(slip.quantity for slip in self._open())

    @property
    def held(self) -> int:
        return sum(slip.quantity for slip in self.holds.values() if slip.is_open)

    def ask(self, command: Command, now: datetime) -> Answer:
        """What becomes of a command, in the form of ``told``."""
        if command.key in self.kept:
            request, answer = self.kept[command.key]
            return ("again", *answer) if request == command.request else self._no("key_reused")
        self._let_expire(now)
        match command:
            case Sell() | Hold():
                return self._give(command, now)
            case Cancel():
                return self._take_back(command, self.orders.get(command.order), "cancelled", "unknown_order")
            case Release():
                return self._take_back(command, self.holds.get(command.hold), "released", "unknown_hold")
            case Confirm():
                return self._confirm(command)
        return self._amend(command) if isinstance(command, Amend) else ("swept", len(self.audit), self.left)

    def _open(self) -> list[Slip]:
        return [slip for slip in (*self.orders.values(), *self.holds.values()) if slip.is_open]

    def _let_expire(self, now: datetime) -> None:
        while True:
            over = [slip for slip in self.holds.values() if slip.is_open and slip.until and slip.until <= now]
            if not over:
                return
            first = min(over, key=lambda slip: (slip.until, slip.made))
            first.state = "expired"
            self._write("expired", None, first, hold=first.name)

    def _give(self, command: Sell | Hold, now: datetime) -> Answer:  # noqa: PLR0911
        about, wish = self.event, command.wish
        rows = [seats for section, seats in self.rows if wish.section in ("", section)]
        unknown = [seat for seat in wish.seats if not any(seat in seats for seats in rows)]
        if wish != Wish() and not self.rows:
            return self._no("no_hall")
        if unknown or (self.rows and not rows):
            return self._no("unknown_seat", unknown)
        if command.quantity > about.max_per_order:
            return self._no("over_limit")
        if wish.together and command.quantity > max(map(len, rows)):
            return self._no("row_too_short")
        if about.max_per_buyer is not None and command.buyer is None:
            return self._no("buyer_needed")
        if isinstance(command, Hold) and about.max_hold_s is not None and about.max_hold_s < command.seconds:
            return self._no("hold_too_long")
        if now < (about.opens_at or now) or (about.closes_at is not None and not now < about.closes_at):
            return self._no("doors_closed")
        if self._has_enough(command.buyer, command.quantity):
            return self._no("buyer_limit")
        taken = self.taken
        seats, why = self._choose(wish, command.quantity, rows, taken) if self.rows else ([], "")
        if why:
            return self._no(why, [seat for seat in wish.seats if seat in taken])
        if command.quantity > self.left:
            return self._no("sold_out")
        if isinstance(command, Hold) and about.max_held is not None and about.max_held - self.held < command.quantity:
            return self._no("too_many_held")
        if isinstance(command, Sell):
            order = self.orders[command.order] = self._slip(
                command.order, command.quantity, command.buyer, "sold", seats
            )
            return self._write("sold", command, order, order=order.name)
        hold = self.holds[command.hold] = self._slip(command.hold, command.quantity, command.buyer, "held", seats)
        hold.made, hold.until = len(self.audit) + 1, now + timedelta(seconds=command.seconds)
        return self._write("held", command, hold, hold=hold.name, expires_at=hold.until)

    def _confirm(self, command: Confirm) -> Answer:
        hold = self.holds.get(command.hold)
        if hold is None:
            return self._no("unknown_hold")
        if hold.state == "held":
            hold.state = "confirmed"
            order = Slip(command.order, hold.quantity, hold.tickets, hold.buyer, "sold", hold.seats)
            kind = "confirmed"
        elif hold.state == "expired":
            if hold.quantity > self.left or set(hold.seats) & self.taken:
                return self._no("hold_expired")
            if self._has_enough(hold.buyer, hold.quantity):
                return self._no("buyer_limit")
            hold.state = "sold late"
            order = self._slip(command.order, hold.quantity, hold.buyer, "sold", hold.seats)
            kind = "sold"
        else:
            return self._no("not_open")
        self.orders[command.order] = order
        return self._write(kind, command, order, hold=hold.name, order=order.name)

    def _take_back(self, command: Command, slip: Slip | None, state: str, unknown: str) -> Answer:
        if slip is None:
            return self._no(unknown)
        if not slip.is_open:
            return self._no("not_open")
        slip.state = state
        return self._write(state, command, slip, **{"order" if state == "cancelled" else "hold": slip.name})

    def _amend(self, command: Amend) -> Answer:
        new = msgspec.structs.asdict(self.event) | {name: getattr(command, name) for name in command.fields}
        if self.rows and new["capacity"] != self.event.capacity:
            return self._no("hall_fixed")
        if new["capacity"] < sum(slip.quantity for slip in self._open()):
            return self._no("too_many_sold")
        line = {name: new[name] for name in ("capacity", "opens_at", "closes_at")}
        line["capacity_before"] = self.event.capacity
        self.event = Event(**new)
        line |= {"version": len(self.audit) + 1, "kind": "amended", "key": command.key, "tickets": []}
        self.audit.append(line)
        answer = ("ok", line, self.left)
        self.kept[command.key] = (command.request, answer)
        return answer

    def _has_enough(self, buyer: str | None, quantity: int) -> bool:
        most = self.event.max_per_buyer
        if buyer is None or most is None:
            return False
        return sum(slip.quantity for slip in self._open() if slip.buyer == buyer) + quantity > most

    @property
    def taken(self) -> set[str]:
        return {seat for slip in self._open() for seat in slip.seats}

    @staticmethod
    def _choose(wish: Wish, quantity: int, rows: list[list[str]], taken: set[str]) -> tuple[list[str], str]:
        """The seats, or why there are none."""
        if wish.seats:
            return list(wish.seats), "seat_taken" if taken & set(wish.seats) else ""
        free = [[seat for seat in row if seat not in taken] for row in rows]
        if sum(map(len, free)) < quantity:
            return [], "section_sold_out" if wish.section else "sold_out"
        width = quantity if wish.together else 1
        chosen: set[str] = set()
        for row in rows:
            # Twice its distance from the middle of the row, and its place: the smallest is the best.
            blocks = [(abs(2 * at + width - len(row)), at) for at in range(len(row) - width + 1)]
            for _, at in sorted(blocks):
                block = row[at : at + width]
                if len(chosen) < quantity and not (taken | chosen) & set(block):
                    chosen |= set(block)
        return ([seat for row in rows for seat in row if seat in chosen], "") if chosen else ([], "not_together")

    def _slip(self, name: str, quantity: int, buyer: str | None, state: str, seats: list[str]) -> Slip:
        tickets = [self.numbers + each for each in range(1, quantity + 1)]
        self.numbers += quantity
        return Slip(name, quantity, tickets, buyer, state, seats)

    def _write(self, kind: str, command: Command | None, slip: Slip, **names: Any) -> Answer:
        line = {
            "version": len(self.audit) + 1,
            "kind": kind,
            "quantity": slip.quantity,
            "tickets": slip.tickets,
            **names,
        }
        if slip.seats:
            line["seats"] = slip.seats
        if command is not None:
            line["key"] = command.key
        self.audit.append(line)
        answer = ("ok", line, self.left)
        if command is not None:
            self.kept[command.key] = (command.request, answer)
        return answer

    def _no(self, code: str, seats: Sequence[str] = ()) -> Answer:
        return (code, len(self.audit), self.left, list(seats))


def told(outcome: Outcome) -> Answer:
    """What the office says, in the clerk's form."""
    match outcome:
        case Record():
            return ("ok", audit_line(outcome), outcome.remaining)
        case Replay(record):
            return ("again", *told(record))
        case Refusal():
            return (outcome.code, outcome.version, outcome.remaining, list(outcome.seats))
        case Swept():
            return ("swept", outcome.version, outcome.remaining)


def audit_line(record: Record) -> dict[str, Any]:
    """A line of the audit as the service shows it."""
    line = {**record.audit_line(), "tickets": list(record.tickets)}
    return line | {"seats": list(record.seats)} if record.seats else line
