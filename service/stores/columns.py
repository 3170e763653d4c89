"""The columns that the stores of engines have in common: a record's first ticket, and instants as whole numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.rules.records import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def first_ticket(record: Record) -> int:
    """The first of its tickets, which tells them all together with their number; 0 of a record without tickets."""
    first = record.tickets[0] if record.tickets else 0
    if record.tickets != tuple(range(first, first + record.quantity)):
        raise ValueError("the tickets of a record follow one another")
    return first


def microseconds(moment: datetime) -> int:
    """An instant as an engine keeps and compares it: since 1970, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def instant(us: int) -> datetime:
    """The instant from its microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)
