"""How a record becomes a row of PostgreSQL, and a row a record again.

Whole rows leave the engine as JSON: an instant then looks the same under every setting of ``DateStyle``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast, get_args

import msgspec
from msgspec.structs import astuple

from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import Held, Record
from service.rules.records import Kind
from service.stores.columns import first_ticket
from service.stores.reading import more_in, more_of
from service.stores.seat_reading import indices

RECORD = (
    "version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id, expires_at, cart, more"
)
HELD = "hold_id, version, quantity, first_ticket, expires_at, buyer"
SEATS = ", seats"
"""Behind each of them, of an event with a hall: the indices of the seats, in the order in which they were told."""

_KINDS = frozenset(get_args(Kind))
_ENDS = frozenset({"confirmed", "released", "expired"})
_rows = msgspec.json.Decoder(list[list[Any]])
_row = msgspec.json.Decoder(list[Any])


class Columns(NamedTuple):
    """What a list of records writes, each a list of columns; with a hall the last column is that of the seats."""

    records: list[list[Any]]
    """In the order of ``RECORD``."""
    opened: list[list[Any]]
    """The holds among them that are open after the last of them, in the order of ``HELD``."""
    closed: list[str]
    """The holds that were open before the first of them, and are not any more."""


def columns_of(records: Sequence[Record], hall: Hall | None = None) -> Columns:
    """The records as the engine takes them, all at once."""
    opened: dict[str, Record] = {}
    closed: list[str] = []
    for record in records:
        if record.kind == "held":
            opened[record.hold] = record
        elif record.kind in _ENDS and opened.pop(record.hold, None) is None:
            closed.append(record.hold)
    rows: list[tuple[Any, ...]] = [
        (each.version, each.kind, each.key, each.order, each.quantity, first_ticket(each), each.remaining, each.request,
         each.buyer, each.hold or None, each.expires_at, each.cart or None, more_of(each))
        for each in records
    ]  # fmt: skip
    holds: list[tuple[Any, ...]] = [
        (each.hold, each.version, each.quantity, each.tickets[0], each.expires_at, each.buyer)
        for each in opened.values()
    ]
    if hall is None:
        return Columns(_turned(rows, RECORD), _turned(holds, HELD), closed)
    rows = [(*row, _as_text(hall, each)) for row, each in zip(rows, records, strict=True)]
    holds = [(*row, _as_text(hall, each)) for row, each in zip(holds, opened.values(), strict=True)]
    return Columns(_turned(rows, RECORD + SEATS), _turned(holds, HELD + SEATS), closed)


def _as_text(hall: Hall, record: Record) -> str:
    """The seats as the text of an array: the engine takes no list of lists of different lengths."""
    return f"{{{','.join(map(str, indices(hall, record.seats)))}}}"


def _turned(rows: Sequence[Sequence[Any]], names: str) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names.split(", ")]


def record_of(columns: Sequence[Any], hall: Hall | None = None) -> Record:
    """A record from its row, in the order of ``RECORD``, and of an event with a hall its seats behind that.

    Errors: ``corrupt_document``.
    """
    version, kind, key, order, quantity, first, remaining, request, buyer, hold, ends, cart, more, *seats = columns
    if kind not in _KINDS:
        detail = f"A record in PostgreSQL has the kind {kind!r}. Nothing was written. Was the schema changed by hand?"
        raise Problem("corrupt_document", detail)
    tickets = tuple(range(first, first + quantity))
    return Record(
        version, cast(Kind, kind), key, order, quantity, tickets, remaining, request, buyer, hold or "",
        None if ends is None else instant(ends), cart or "", _ids(hall, seats), *astuple(more_in(more)),
    )  # fmt: skip


def record_in(row: str, hall: Hall | None = None) -> Record:
    """The record in a JSON array of its columns."""
    return record_of(_row.decode(row), hall)


def records_in(rows: bytes | None, hall: Hall | None = None) -> Iterator[Record]:
    """The records in a JSON array of them; None is none."""
    return (record_of(row, hall) for row in _rows.decode(rows)) if rows is not None else iter(())


def holds_in(rows: bytes | None, hall: Hall | None = None) -> list[Held]:
    """The open holds in a JSON array of them, each in the order of ``HELD``, and of an event with a hall its seats."""
    return [
        Held(
            hold, version, quantity, tuple(range(first, first + quantity)), instant(ends), buyer=buyer,
            seats=_ids(hall, seats),
        )
        for hold, version, quantity, first, ends, buyer, *seats in (_rows.decode(rows) if rows is not None else ())
    ]  # fmt: skip


def _ids(hall: Hall | None, seats: Sequence[list[int] | None]) -> tuple[str, ...]:
    """The ids of the seats in the last column, if there is one."""
    return tuple(map(hall.seat, seats[0])) if hall is not None and seats and seats[0] is not None else ()


def instant(text: str) -> datetime:
    """A ``timestamptz`` as it stands in JSON, whatever time zone the session has."""
    return datetime.fromisoformat(text).astimezone(UTC)
