"""Records as the engine keeps them, lines of JSON in a stream, and the commands and outcomes that a script exchanges.

An order's tickets follow one another, so the first of them and their number tell all. What a script cannot know before
it has decided (version, first ticket, what remains) stands first in a line; the rest of it is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import (
    Command,
    Event,
    Held,
    Hold,
    Outcome,
    Record,
    Refusal,
    Replay,
    Sell,
    Swept,
)
from service.rules.inventory import hold_after as hold_left_by
from service.rules.records import ANY, Kind
from service.stores.columns import first_ticket, instant, microseconds
from service.stores.seat_reading import indices

encode = msgspec.json.Encoder().encode


class KeptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record in the stream."""

    version: int
    first: int
    remaining: int
    kind: Kind
    key: str
    order: str
    quantity: int
    request: str = ""
    buyer: str | None = None
    hold: str = ""
    ends_us: int | None = None
    cart: str = ""
    seats: tuple[int, ...] = ()
    """Their indices in the hall."""
    about: Event | None = None
    reason: str = ""
    capacity_before: int = 0
    operation: str = ""


_lines = msgspec.json.Decoder(KeptRecord)
_STANDS = {"held", "confirmed", "released", "expired", "sold"}


def fields_of(event: Event, born: str) -> list[object]:
    """The fields of a new event's hash, each with its value behind it. A limit that it has not, has no field."""
    return amended_fields(event) + _flat({
        "born": born, "count": 0, "version": 0, "sold": 0, "held": 0, "next": 1, "fence": 0,
        "per_order": event.max_per_order, "per_buyer": event.max_per_buyer, "max_held": event.max_held,
        "max_hold_s": None if event.max_hold_s is None else repr(event.max_hold_s), "hall": event.hall or None,
    })  # fmt: skip


def amended_fields(event: Event) -> list[object]:
    """Those that may change later."""
    return _flat({
        "about": encode(event).decode(), "capacity": event.capacity,
        "opens": None if event.opens_at is None else str(microseconds(event.opens_at)),
        "closes": None if event.closes_at is None else str(microseconds(event.closes_at)),
    })  # fmt: skip


def _flat(fields: dict[str, object]) -> list[object]:
    return [part for pair in fields.items() if pair[1] is not None for part in pair]


def line_of(record: Record, hall: Hall | None) -> bytes:
    """A record as it is kept."""
    return encode(
        KeptRecord(
            record.version, first_ticket(record), record.remaining, record.kind, record.key, record.order,
            record.quantity, record.request, record.buyer, record.hold,
            None if record.expires_at is None else microseconds(record.expires_at), record.cart,
            () if hall is None else tuple(indices(hall, record.seats)), record.about, record.reason,
            record.capacity_before, record.operation,
        )
    )  # fmt: skip


def record_of(line: bytes, hall: Hall | None) -> Record:
    """A record from what is kept. Errors: ``corrupt_document``."""
    try:
        kept = _lines.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("corrupt_document", f"A record in the engine cannot be read ({error}).") from None
    if kept.seats and (hall is None or not 0 <= min(kept.seats) <= max(kept.seats) < hall.size):
        raise Problem("corrupt_document", f"A record in the engine has seats that there are not ({kept.seats}).")
    tickets = tuple(range(kept.first, kept.first + kept.quantity))
    return Record(
        kept.version, kept.kind, kept.key, kept.order, kept.quantity, tickets, kept.remaining, kept.request, kept.buyer,
        kept.hold, None if kept.ends_us is None else instant(kept.ends_us), kept.cart,
        () if hall is None else tuple(map(hall.seat, kept.seats)), kept.about, kept.reason,
        kept.capacity_before, kept.operation,
    )  # fmt: skip


def held_of(line: bytes, hall: Hall | None, stands: bytes = b"held") -> Held:
    """A hold from the record that made it, and what became of it. Errors: ``corrupt_document``."""
    held = hold_left_by(record_of(line, hall), None)
    status = stands.decode()
    if held is None or status not in _STANDS:
        raise Problem("corrupt_document", f"A hold in the engine cannot be read ({status!r}).")
    return msgspec.structs.replace(held, status=status)


def command_of(command: Command, now: datetime, hall: Hall | None) -> dict[str, object]:
    """A command as ``rules`` takes it, with the end of its record. Until when a hold lasts is known here."""
    rest: dict[str, object] = {"key": command.key, "request": command.request, "order": getattr(command, "order", "")}
    asked: dict[str, object] = {"wants": type(command).__name__, **rest, "hold": getattr(command, "hold", "")}
    rest |= {name: getattr(command, name) for name in ("hold", "operation", "cart") if hasattr(command, name)}
    if isinstance(command, Sell | Hold):
        asked |= {"quantity": command.quantity, "buyer": command.buyer} | _wished(command, hall)
    if isinstance(command, Hold):
        asked["seconds"] = command.seconds
        rest["ends_us"] = microseconds(now + timedelta(seconds=command.seconds))
        asked["ends_us"] = str(rest["ends_us"])
    asked["rest"] = "," + encode(rest).decode()[1:]
    return asked


def _wished(command: Sell | Hold, hall: Hall | None) -> dict[str, object]:
    """Which seats a command wants, and what can be said of it without knowing which are taken."""
    wish = command.wish
    if hall is None:
        return {} if wish == ANY else {"unknown": "no_hall"}
    seats = indices(hall, wish.seats)
    if len(seats) < len(wish.seats) or not hall.has(wish.section):
        return {"unknown": "unknown_seat"}
    asked: dict[str, object] = {"seats": seats} if seats else {"section": wish.section, "together": wish.together}
    if wish.together and command.quantity > hall.longest_row(wish.section):
        asked["too_wide"] = True
    return asked


def rows_asked(hall: Hall, commands: Sequence[Command]) -> dict[str, msgspec.Raw]:
    """Of each section of which the commands want the best seats, or of the whole hall, its first seat and the number of
    seats of each row."""
    wishes = [command.wish for command in commands if isinstance(command, Sell | Hold)]
    return {wish.section: _rows(hall, wish.section) for wish in wishes if not wish.seats and hall.has(wish.section)}


@lru_cache(maxsize=64)
def _rows(hall: Hall, section: str) -> msgspec.Raw:
    first, _ = hall.span(section)
    return msgspec.Raw(encode([first, *(seats for _, seats in hall.rows(section))]))


def outcome_of(said: bytes, command: Command, *, hall: Hall | None, opens_us: int | None, now: datetime) -> Outcome:
    """What ``scripts.DECIDE`` said of a command, as ``inventory.decide`` has it."""
    how, _, rest = said.partition(b" ")
    if how == b"+":
        return record_of(rest, hall)
    if how == b"=":
        return Replay(record_of(rest, hall))
    if how == b"~":
        version, remaining = rest.split(b" ")
        return Swept(int(version), int(remaining))
    code, version, remaining, *places = rest.split(b" ")
    wait_s: int | None = None
    seats: tuple[str, ...] = ()
    if code == b"doors_closed" and opens_us is not None and microseconds(now) < opens_us:
        wait_s = -((microseconds(now) - opens_us) // 1_000_000)  # rounded up
    wanted = command.wish.seats if isinstance(command, Sell | Hold) else ()
    if code == b"seat_taken":
        seats = tuple(wanted[int(place) - 1] for place in places)
    elif code == b"unknown_seat" and hall is not None:
        seats = hall.missing(wanted)
    return Refusal(code.decode(), int(version), int(remaining), wait_s, seats)


def rows_of(records: Sequence[Record], hall: Hall | None) -> list[list[object]]:
    """What ``scripts.APPEND`` writes of each record."""
    return [
        [
            each.key, each.order, line_of(each, hall).decode(), each.hold, each.kind,
            None if each.expires_at is None else str(microseconds(each.expires_at)), each.version,
            *([] if hall is None else [indices(hall, each.seats)]),
        ]
        for each in records
    ]  # fmt: skip


def bought_by(records: Sequence[Record]) -> dict[str, int]:
    """How the tickets that each buyer has change by these records."""
    changes: dict[str, int] = {}
    for record in records:
        if record.buyer is not None:
            changes[record.buyer] = changes.get(record.buyer, 0) + record.taken
    return changes
