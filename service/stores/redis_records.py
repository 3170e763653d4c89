"""Records as the engine keeps them, lines of JSON in a stream, and the commands and outcomes that a script exchanges.

An order's tickets follow one another, so the first of them and their number tell all. What a script cannot know before
it has decided (version, first ticket, what remains) stands first in a line; the rest of it is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from service.errors import Problem
from service.inventory import Command, Outcome, Record, Refusal, Replay, Sell

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """A record in the stream."""

    version: int
    first: int
    remaining: int
    kind: Literal["sold", "cancelled"]
    key: str
    order: str
    quantity: int
    request: str = ""
    buyer: str | None = None


_lines = msgspec.json.Decoder(Line)
_buyers = msgspec.json.Decoder(str | None)


def line_of(record: Record) -> bytes:
    """A record as it is kept."""
    first = record.tickets[0]
    if record.tickets != tuple(range(first, first + record.quantity)):
        raise ValueError("the tickets of a record follow one another")
    return encode(
        Line(
            record.version, first, record.remaining, record.kind, record.key, record.order, record.quantity,
            record.request, record.buyer,
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
        kept.version, kept.kind, kept.key, kept.order, kept.quantity, tickets, kept.remaining, kept.request, kept.buyer
    )


def microseconds(moment: datetime) -> int:
    """Since 1970; a script compares whole numbers."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def command_of(command: Command) -> list[object]:
    """A command as ``redis_scripts.DECIDE`` takes it, with the part of its record that needs no decision."""
    if isinstance(command, Sell):
        rest = {
            "kind": "sold", "key": command.key, "order": command.order, "quantity": command.quantity,
            "request": command.request, "buyer": command.buyer,
        }  # fmt: skip
        return ["sell", command.key, command.request, command.order, command.quantity, command.buyer, _rest(rest)]
    rest = {"kind": "cancelled", "key": command.key, "order": command.order, "request": command.request}
    return ["cancel", command.key, command.request, command.order, 0, None, _rest(rest)]


def _rest(fields: dict[str, object]) -> str:
    return encode(fields).decode()[1:]


def outcome_of(said: bytes, command: Command, opens_us: int | None, now: datetime) -> Outcome:
    """What ``redis_scripts.DECIDE`` said of a command, as ``inventory.decide`` has it."""
    how, _, rest = said.partition(b" ")
    if how == b"=":
        return Replay(record_of(rest))
    if how == b"!":
        code, version, remaining = rest.split(b" ")
        wait_s = None
        if code == b"doors_closed" and opens_us is not None:
            wait_s = (opens_us - microseconds(now)) // 1_000_000 + 1
        return Refusal(code.decode(), int(version), int(remaining), wait_s)
    version, first, remaining, *order = rest.split(b" ", 4)
    quantity, buyer = (int(order[0]), _buyers.decode(order[1])) if order else _of_sale(command)
    tickets = tuple(range(int(first), int(first) + quantity))
    return Record(
        int(version), "cancelled" if order else "sold", command.key, command.order, quantity, tickets, int(remaining),
        command.request, buyer,
    )  # fmt: skip


def _of_sale(command: Command) -> tuple[int, str | None]:
    if not isinstance(command, Sell):
        raise TypeError("only a sale is decided without its order")
    return command.quantity, command.buyer


def rows_of(records: Sequence[Record]) -> list[list[str]]:
    """Key, order and line of each record, for ``redis_scripts.APPEND``."""
    return [[record.key, record.order, line_of(record).decode()] for record in records]


def bought_by(records: Sequence[Record]) -> dict[str, int]:
    """How the tickets that each buyer has change by these records."""
    changes: dict[str, int] = {}
    for record in records:
        if record.buyer is not None:
            given = record.quantity if record.kind == "sold" else -record.quantity
            changes[record.buyer] = changes.get(record.buyer, 0) + given
    return changes
