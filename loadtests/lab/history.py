"""Histories and audits, from JSON Lines into columns: what a load test recorded, and what the service committed.

A history is immutable and columnar: row i of every column belongs to one operation. Numbers that the file does
not have are ``ABSENT``, strings are ids of ``Names``, times are nanoseconds, and an operation that never
returned returns at ``NEVER``.

What cannot have been recorded honestly is refused here, with its line, so that no check ever draws a verdict
from it: a return before its invocation, one key with two payloads, one attempt twice, a process that is in two
operations at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtests.lab.columns import (
    ABSENT,
    NEVER,
    Bools,
    Count,
    HistoryError,
    Ints,
    Names,
    Number,
    Quantity,
    Ragged,
    Source,
    Table,
    Time,
    codes,
    ints,
    lists,
    name_of,
    read_first_row,
    read_rows,
    strings,
)

__all__ = ["ABSENT", "NEVER", "Audit", "History", "HistoryError", "read_audit", "read_history"]

OPS = ("buy", "read", "cancel", "hold", "confirm", "release")
BUY, READ, CANCEL, HOLD, CONFIRM, RELEASE = range(6)

OUTCOMES = ("ok", "sold_out", "refused", "fail", "unknown")
OK, SOLD_OUT, REFUSED, FAIL, UNKNOWN = range(5)

KINDS = ("sold", "cancelled", "held", "confirmed", "released", "expired")
SOLD, CANCELLED, HELD, CONFIRMED, RELEASED, EXPIRED = range(6)

Codes = NDArray[np.int8]


class _Operation(msgspec.Struct, gc=False):
    """A line of the history, as the contract gives it; fields that the checks do not use are ignored."""

    process: Number
    op: Literal["buy", "read", "cancel", "hold", "confirm", "release"]
    event: str
    invoke_ns: Time
    return_ns: Time | None
    outcome: Literal["ok", "sold_out", "refused", "fail", "unknown"]
    key: str | None = None
    attempt: Quantity = 1
    quantity: Quantity | None = None
    replayed: bool | None = None
    order: str | None = None
    hold: str | None = None
    tickets: list[Number] | None = None
    remaining: Number | None = None
    version: Count | None = None
    host: str | None = None


class _Header(msgspec.Struct):
    """The first line of an audit."""

    event: str
    capacity: Count
    versions: Count


class _Record(msgspec.Struct, gc=False):
    """A further line of an audit: one committed mutation."""

    version: Count
    kind: Literal["sold", "cancelled", "held", "confirmed", "released", "expired"]
    quantity: Quantity
    key: str | None = None
    order: str | None = None
    hold: str | None = None
    tickets: list[Number] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class History:
    """Operations in columns: ``key``, ``order``, ``hold``, ``host`` are ids (-1: none), ``event`` indexes ``events``.

    ``op`` and ``outcome`` are codes (``OPS``, ``OUTCOMES``); ``replayed`` is 1, 0 or -1 for absent; ``return_ns``
    is NEVER for an unknown outcome. ``marks_replays`` says whether the whole history has that field anywhere.
    """

    events: tuple[str, ...]
    keys: Names
    orders: Names
    holds: Names
    hosts: Names
    marks_replays: bool
    line: Ints
    event: Ints
    process: Ints
    host: Ints
    op: Codes
    outcome: Codes
    key: Ints
    attempt: Ints
    invoke_ns: Ints
    return_ns: Ints
    replayed: Codes
    quantity: Ints
    order: Ints
    hold: Ints
    remaining: Ints
    version: Ints
    tickets: Ragged

    def __len__(self) -> int:
        return len(self.line)

    def take(self, rows: Ints) -> History:
        """The operations at ``rows``, in that order."""
        columns: dict[str, Any] = {
            field.name: column[rows]
            for field in fields(self)
            if isinstance(column := getattr(self, field.name), np.ndarray)
        }
        return replace(self, tickets=self.tickets.take(rows), **columns)

    @classmethod
    def of(cls, operations: Iterable[Mapping[str, object]]) -> History:
        """A history of operations given as mappings. Raises HistoryError as reading their JSON lines does."""
        return read_history(b"\n".join(map(msgspec.json.encode, operations)))


@dataclass(frozen=True)
class Audit:
    """The committed mutations of one event in the order of the file: what its header says, and columns.

    ``key``, ``order`` and ``hold`` are ids of this audit's own ``Names``; ``expires_at`` is in microseconds.
    """

    event: str
    capacity: int | None
    versions: int
    keys: Names
    orders: Names
    holds: Names
    line: Ints
    version: Ints
    kind: Codes
    key: Ints
    order: Ints
    hold: Ints
    quantity: Ints
    expires_at: Ints
    tickets: Ragged

    def __len__(self) -> int:
        return len(self.version)

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, object]]) -> Audit:
        """An audit of its header and its records given as mappings. Raises HistoryError as reading does."""
        return read_audit(b"\n".join(map(msgspec.json.encode, lines)))


def read_history(source: Source | str) -> History:
    """Read a history from a path (plain or gzip) or from bytes.

    Raises HistoryError naming the line that is no JSON, lacks a field, breaks off, or cannot have been recorded.
    """
    source = Path(source) if isinstance(source, str) else source
    table = Table()
    names = {name: Names() for name in ("event", "key", "order", "hold", "host")}
    first_row = 0
    for lines, rows in read_rows(source, _Operation):
        table.add("line", lines)
        for field, ids in names.items():
            table.add(field, ids.intern(strings(rows, field), first_row, len(rows)))
        for field in ("process", "attempt", "invoke_ns", "return_ns", "quantity", "remaining", "version"):
            table.add(field, ints(rows, field))
        table.add("op", codes(rows, "op", {op: code for code, op in enumerate(OPS)}))
        table.add("outcome", codes(rows, "outcome", {outcome: code for code, outcome in enumerate(OUTCOMES)}))
        table.add("replayed", codes(rows, "replayed", {None: -1, False: 0, True: 1}))
        table.add("tickets", lists(rows, "tickets"))
        first_row += len(rows)
    event_ids, event = np.unique(table.ints("event"), return_inverse=True)
    never = (table.codes("outcome") == UNKNOWN) | (table.ints("return_ns") == ABSENT)
    history = History(
        events=tuple(str(names["event"].string(number)) for number in event_ids),
        keys=names["key"],
        orders=names["order"],
        holds=names["hold"],
        hosts=names["host"],
        marks_replays=bool((table.codes("replayed") >= 0).any()),
        event=event,
        invoke_ns=table.ints("invoke_ns"),
        return_ns=np.where(never, NEVER, table.ints("return_ns")),
        op=table.codes("op"),
        outcome=table.codes("outcome"),
        replayed=table.codes("replayed"),
        tickets=table.ragged("tickets"),
        **{name: table.ints(name) for name in ("line", "process", "host", "key", "attempt")},
        **{name: table.ints(name) for name in ("quantity", "order", "hold", "remaining", "version")},
    )
    _refuse_what_cannot_be(history, name_of(source))
    return history


def read_audit(source: Source | str) -> Audit:
    """Read an audit from a path (plain or gzip) or from bytes.

    Raises HistoryError naming the line that is no JSON, lacks a field, or breaks off. Whether the records
    follow the rules is for the checks to say.
    """
    source = Path(source) if isinstance(source, str) else source
    header = read_first_row(source, _Header)
    table = Table()
    names = {name: Names() for name in ("key", "order", "hold")}
    first_row = 0
    for lines, rows in read_rows(source, _Record, first_row=1):
        table.add("line", lines)
        for field, ids in names.items():
            table.add(field, ids.intern(strings(rows, field), first_row, len(rows)))
        table.add("version", ints(rows, "version"))
        table.add("quantity", ints(rows, "quantity"))
        table.add("kind", codes(rows, "kind", {kind: code for code, kind in enumerate(KINDS)}))
        table.add("expires_at", np.array([_microseconds(row.expires_at) for row in rows], np.int64))
        table.add("tickets", lists(rows, "tickets"))
        first_row += len(rows)
    audit = Audit(
        event=header.event,
        capacity=header.capacity,
        versions=header.versions,
        keys=names["key"],
        orders=names["order"],
        holds=names["hold"],
        kind=table.codes("kind"),
        tickets=table.ragged("tickets"),
        **{name: table.ints(name) for name in ("line", "version", "key", "order", "hold")},
        **{name: table.ints(name) for name in ("quantity", "expires_at")},
    )
    needs_order = np.isin(audit.kind, (CANCELLED,))
    needs_hold = np.isin(audit.kind, (HELD, CONFIRMED, RELEASED, EXPIRED))
    for column, lacking in (
        ("key", (audit.key < 0) & (audit.kind != EXPIRED)),
        ("order", (audit.order < 0) & needs_order),
        ("hold", (audit.hold < 0) & needs_hold),
    ):
        _refuse(lacking, audit.line, name_of(source), f"the record lacks the field `{column}`")
    return audit


def _refuse_what_cannot_be(history: History, name: str) -> None:
    h = history
    returned = h.return_ns != NEVER
    answered = (h.outcome != UNKNOWN) & (h.outcome != FAIL)
    mutation = h.op != READ
    _refuse(answered & ~returned, h.line, name, "an answer, but `return_ns` is null")
    _refuse(h.return_ns < h.invoke_ns, h.line, name, "it returned before it was invoked: a clock went back")
    for column, ops in (("quantity", (BUY, HOLD)), ("order", (CANCEL,)), ("hold", (CONFIRM, RELEASE))):
        lacking = np.isin(h.op, ops) & (getattr(h, column) < 0)
        _refuse(lacking, h.line, name, f"the operation lacks the field `{column}`")
    odd = ((h.outcome == SOLD_OUT) & ~np.isin(h.op, (BUY, HOLD, CONFIRM))) | (
        (h.outcome == REFUSED) & ~np.isin(h.op, (CANCEL, CONFIRM, RELEASE))
    )
    _refuse(odd, h.line, name, "an outcome that this operation cannot have")
    _refuse_clashing_attempts(h, np.flatnonzero(mutation & (h.key >= 0)), name)
    _refuse_overlap_in_a_process(h, np.flatnonzero(returned), name)


def _refuse_clashing_attempts(h: History, rows: Ints, name: str) -> None:
    """Attempts of one key: each once, and all with one payload."""
    rows = rows[np.lexsort((h.attempt[rows], h.key[rows], h.event[rows]))]
    a, b = rows[:-1], rows[1:]
    same_key = (h.key[a] == h.key[b]) & (h.event[a] == h.event[b])
    a, b = a[same_key], b[same_key]
    _refuse(h.attempt[a] == h.attempt[b], h.line[b], name, "the same attempt of its key stands twice", h.line[a])
    payload = h.op[a] != h.op[b]
    for column, ops in (("quantity", (BUY, HOLD)), ("order", (CANCEL,)), ("hold", (CONFIRM, RELEASE))):
        values = getattr(h, column)
        payload |= np.isin(h.op[a], ops) & (values[a] != values[b])
    _refuse(payload, h.line[b], name, "its key stands with another payload", h.line[a])


def _refuse_overlap_in_a_process(h: History, rows: Ints, name: str) -> None:
    """A process does one thing at a time: its clock went back, or two processes share one number."""
    rows = rows[np.lexsort((h.return_ns[rows], h.invoke_ns[rows], h.process[rows], h.host[rows]))]
    a, b = rows[:-1], rows[1:]
    overlap = (h.process[a] == h.process[b]) & (h.host[a] == h.host[b]) & (h.invoke_ns[b] < h.return_ns[a])
    why = "its process was still in another operation: a clock went back, or two processes share a number"
    _refuse(overlap, h.line[b], name, why, h.line[a])


def _refuse(bad: Bools, line: Ints, name: str, why: str, other_line: Ints | None = None) -> None:
    """Raise HistoryError for the first line that is bad."""
    if not bad.any():
        return
    rows = np.flatnonzero(bad)
    row = rows[np.argmin(line[rows])]
    also = f" (the other is line {other_line[row]})" if other_line is not None else ""
    raise HistoryError(f"{name}, line {line[row]}: {why}{also}")


def _microseconds(moment: datetime | None) -> int:
    if moment is None:
        return ABSENT
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    elapsed = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
