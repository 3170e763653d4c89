"""Records as the engine keeps them, lines of JSON in a stream, and the commands and outcomes that a script exchanges.

An order's tickets follow one another, so the first of them and their number tell all. What a script cannot know before
it has decided (version, first ticket, what remains) stands first in a line; the rest of it is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from service.errors import Problem
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Held,
    Hold,
    Outcome,
    Record,
    Refusal,
    Replay,
    Sell,
    Sweep,
    Swept,
)
from service.rules.inventory import hold_after as hold_left_by
from service.rules.records import Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


_lines = msgspec.json.Decoder(KeptRecord)
_STANDS = {"held", "confirmed", "released", "expired", "sold"}


def line_of(record: Record) -> bytes:
    """A record as it is kept."""
    first = record.tickets[0]
    if record.tickets != tuple(range(first, first + record.quantity)):
        raise ValueError("the tickets of a record follow one another")
    return encode(
        KeptRecord(
            record.version, first, record.remaining, record.kind, record.key, record.order, record.quantity,
            record.request, record.buyer, record.hold,
            None if record.expires_at is None else microseconds(record.expires_at), record.cart,
        )
    )  # fmt: skip


def record_of(line: bytes) -> Record:
    """A record from what is kept. Errors: ``corrupt_document``."""
    try:
        kept = _lines.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("corrupt_document", f"A record in the engine cannot be read ({error}).") from None
    tickets = tuple(range(kept.first, kept.first + kept.quantity))
    return Record(
        kept.version, kept.kind, kept.key, kept.order, kept.quantity, tickets, kept.remaining, kept.request, kept.buyer,
        kept.hold, None if kept.ends_us is None else instant(kept.ends_us), kept.cart,
    )  # fmt: skip


def held_of(line: bytes, stands: bytes = b"held") -> Held:
    """A hold from the record that made it, and what became of it. Errors: ``corrupt_document``."""
    held = hold_left_by(record_of(line), None)
    status = stands.decode()
    if held is None or status not in _STANDS:
        raise Problem("corrupt_document", f"A hold in the engine cannot be read ({status!r}).")
    return msgspec.structs.replace(held, status=status)


def microseconds(moment: datetime) -> int:
    """Since 1970; a script compares whole numbers."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def instant(us: int) -> datetime:
    """The instant from its microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def command_of(command: Command, now: datetime) -> dict[str, object]:
    """A command as ``redis_rules`` takes it, with the end of its record. Until when a hold lasts is known here."""
    asked: dict[str, object] = {"wants": type(command).__name__, "key": command.key, "request": command.request}
    rest: dict[str, object] = {"key": command.key, "request": command.request, "order": ""}
    asked |= {"order": "", "hold": ""}
    if isinstance(command, Sell | Cancel | Confirm):
        asked["order"] = rest["order"] = command.order
    if not isinstance(command, Sell | Cancel | Sweep):
        asked["hold"] = rest["hold"] = command.hold
    if isinstance(command, Sell | Hold):
        asked |= {"quantity": command.quantity, "buyer": command.buyer}
    if isinstance(command, Sell):
        rest["cart"] = command.cart
    if isinstance(command, Hold):
        asked["seconds"] = command.seconds
        rest["ends_us"] = microseconds(now + timedelta(seconds=command.seconds))
        asked["ends_us"] = str(rest["ends_us"])
    asked["rest"] = "," + encode(rest).decode()[1:]
    return asked


def outcome_of(said: bytes, opens_us: int | None, now: datetime) -> Outcome:
    """What ``redis_scripts.DECIDE`` said of a command, as ``inventory.decide`` has it."""
    how, _, rest = said.partition(b" ")
    if how == b"+":
        return record_of(rest)
    if how == b"=":
        return Replay(record_of(rest))
    *code, version, remaining = rest.split(b" ")
    if how == b"~":
        return Swept(int(version), int(remaining))
    wait_s = None
    if code == [b"doors_closed"] and opens_us is not None:
        wait_s = -((microseconds(now) - opens_us) // 1_000_000)  # rounded up
    return Refusal(code[0].decode(), int(version), int(remaining), wait_s)


def rows_of(records: Sequence[Record]) -> list[list[object]]:
    """What ``redis_scripts.APPEND`` writes of each record."""
    return [
        [
            each.key, each.order, line_of(each).decode(), each.hold, each.kind,
            None if each.expires_at is None else str(microseconds(each.expires_at)), each.version,
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
