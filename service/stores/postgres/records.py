"""How a record becomes a row of PostgreSQL, and a row a record again.

Whole rows leave the engine as JSON: an instant then looks the same under every setting of ``DateStyle``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast, get_args

import msgspec

from service.errors import Problem
from service.rules.inventory import Held, Record
from service.rules.records import Kind

RECORD = "version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id, expires_at, cart"
HELD = "hold_id, version, quantity, first_ticket, expires_at, buyer"

_KINDS = frozenset(get_args(Kind))
_ENDS = frozenset({"confirmed", "released", "expired"})
_rows = msgspec.json.Decoder(list[list[Any]])
_row = msgspec.json.Decoder(list[Any])


class Columns(NamedTuple):
    """What a list of records writes, each a list of columns."""

    records: list[list[Any]]
    """In the order of ``RECORD``."""
    opened: list[list[Any]]
    """The holds among them that are open after the last of them, in the order of ``HELD``."""
    closed: list[str]
    """The holds that were open before the first of them, and are not any more."""


def columns_of(records: Sequence[Record]) -> Columns:
    """The records as the engine takes them, all at once."""
    opened: dict[str, Record] = {}
    closed: list[str] = []
    for record in records:
        if record.tickets != tuple(range(record.tickets[0], record.tickets[0] + record.quantity)):
            raise ValueError("the tickets of a record follow one another")
        if record.kind == "held":
            opened[record.hold] = record
        elif record.kind in _ENDS and opened.pop(record.hold, None) is None:
            closed.append(record.hold)
    rows = [
        (each.version, each.kind, each.key, each.order, each.quantity, each.tickets[0], each.remaining, each.request,
         each.buyer, each.hold or None, each.expires_at, each.cart or None)
        for each in records
    ]  # fmt: skip
    holds = [
        (each.hold, each.version, each.quantity, each.tickets[0], each.expires_at, each.buyer)
        for each in opened.values()
    ]
    return Columns(_turned(rows, RECORD), _turned(holds, HELD), closed)


def _turned(rows: Sequence[Sequence[Any]], names: str) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names.split(", ")]


def record_of(columns: Sequence[Any]) -> Record:
    """A record from its row, in the order of ``RECORD``. Errors: ``corrupt_document``."""
    version, kind, key, order, quantity, first, remaining, request, buyer, hold, ends, cart = columns
    if kind not in _KINDS:
        detail = f"A record in PostgreSQL has the kind {kind!r}. Nothing was written. Was the schema changed by hand?"
        raise Problem("corrupt_document", detail)
    tickets = tuple(range(first, first + quantity))
    return Record(
        version, cast(Kind, kind), key, order, quantity, tickets, remaining, request, buyer, hold or "",
        None if ends is None else instant(ends), cart or "",
    )  # fmt: skip


def record_in(row: str) -> Record:
    """The record in a JSON array of its columns."""
    return record_of(_row.decode(row))


def records_in(rows: bytes | None) -> Iterator[Record]:
    """The records in a JSON array of them; None is none."""
    return map(record_of, _rows.decode(rows)) if rows is not None else iter(())


def holds_in(rows: bytes | None) -> list[Held]:
    """The open holds in a JSON array of them, each in the order of ``HELD``."""
    return [
        Held(hold, version, quantity, tuple(range(first, first + quantity)), instant(ends), buyer=buyer)
        for hold, version, quantity, first, ends, buyer in (_rows.decode(rows) if rows is not None else ())
    ]


def instant(text: str) -> datetime:
    """A ``timestamptz`` as it stands in JSON, whatever time zone the session has."""
    return datetime.fromisoformat(text).astimezone(UTC)
