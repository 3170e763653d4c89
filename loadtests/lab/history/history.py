"""Histories: what a load test recorded, from JSON Lines into columns.

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
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from loadtests.lab.history.arrays import ABSENT, NEVER, Codes, Ints, Names, Ragged, one_of
from loadtests.lab.history.audit import Audit, read_audit
from loadtests.lab.history.columns import (
    Count,
    HistoryError,
    Number,
    Quantity,
    Source,
    Table,
    Time,
    codes,
    ints,
    lists,
    name_of,
    read_rows,
    refuse,
    strings,
)

__all__ = ["ABSENT", "NEVER", "Audit", "History", "HistoryError", "read_audit", "read_history"]

OPS = ("buy", "read", "cancel", "hold", "confirm", "release")
BUY, READ, CANCEL, HOLD, CONFIRM, RELEASE = range(6)

OUTCOMES = ("ok", "sold_out", "refused", "fail", "unknown")
OK, SOLD_OUT, REFUSED, FAIL, UNKNOWN = range(5)


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
    quantity: Quantity | None = ABSENT
    replayed: bool | None = None
    order: str | None = None
    hold: str | None = None
    cart: str | None = None
    tickets: list[Number] | None = None
    seats: list[str] | None = None
    remaining: Number | None = ABSENT
    version: Count | None = ABSENT
    host: str | None = None


@dataclass(frozen=True)
class History:
    """Operations in columns: ``key``, ``order``, ``hold``, ``cart``, ``seat``, ``host`` are ids (-1: none).

    ``event`` indexes ``events``; ``op`` and ``outcome`` are codes (``OPS``, ``OUTCOMES``); ``replayed`` is 1, 0 or -1
    for absent; ``return_ns`` is NEVER for an unknown outcome. ``marks_replays`` says whether the whole history has that
    field anywhere.
    """

    events: tuple[str, ...]
    keys: Names
    orders: Names
    holds: Names
    carts: Names
    seats: Names
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
    cart: Ints
    seat: Ints
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


def read_history(source: Source | str) -> History:
    """Read a history from a path (plain or gzip) or from bytes.

    Raises HistoryError naming the line that is no JSON, lacks a field, breaks off, or cannot have been recorded.
    """
    source = Path(source) if isinstance(source, str) else source
    table = Table()
    names = {name: Names() for name in ("event", "key", "order", "hold", "cart", "host")}
    seats = Names()
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
        table.add("seat", seats.intern((row.seats[0] if row.seats else None for row in rows), first_row, len(rows)))
        first_row += len(rows)
    event_ids, event = np.unique(table.ints("event"), return_inverse=True)
    never = (table.codes("outcome") == UNKNOWN) | (table.ints("return_ns") == ABSENT)
    silent = one_of(table.codes("outcome"), FAIL, UNKNOWN)  # whatever else such a line has is no answer
    history = History(
        events=tuple(str(names["event"].string(number)) for number in event_ids),
        keys=names["key"],
        orders=names["order"],
        holds=names["hold"],
        carts=names["cart"],
        seats=seats,
        hosts=names["host"],
        marks_replays=bool((table.codes("replayed") >= 0).any()),
        event=event,
        invoke_ns=table.ints("invoke_ns"),
        return_ns=np.where(never, NEVER, table.ints("return_ns")),
        op=table.codes("op"),
        outcome=table.codes("outcome"),
        replayed=table.codes("replayed"),
        remaining=np.where(silent, ABSENT, table.ints("remaining")),
        version=np.where(silent, ABSENT, table.ints("version")),
        tickets=table.ragged("tickets"),
        **{name: table.ints(name) for name in ("line", "process", "host", "key")},
        **{name: table.ints(name) for name in ("attempt", "quantity", "order", "hold", "cart", "seat")},
    )
    _refuse_what_cannot_be(history, name_of(source))
    return history


def _refuse_what_cannot_be(history: History, name: str) -> None:
    h = history
    returned = h.return_ns != NEVER
    answered = (h.outcome != UNKNOWN) & (h.outcome != FAIL)
    mutation = h.op != READ
    refuse(answered & ~returned, h.line, name, "an answer, but `return_ns` is null")
    refuse(h.return_ns < h.invoke_ns, h.line, name, "it returned before it was invoked: a clock went back")
    for column, ops in (("quantity", (BUY, HOLD)), ("order", (CANCEL,)), ("hold", (CONFIRM, RELEASE))):
        lacking = one_of(h.op, *ops) & (getattr(h, column) < 0)
        refuse(lacking, h.line, name, f"the operation lacks the field `{column}`")
    odd = ((h.outcome == SOLD_OUT) & ~one_of(h.op, BUY, HOLD, CONFIRM)) | (
        (h.outcome == REFUSED) & ~one_of(h.op, CANCEL, CONFIRM, RELEASE)
    )
    refuse(odd, h.line, name, "an outcome that this operation cannot have")
    _refuse_clashing_attempts(h, np.flatnonzero(mutation & (h.key >= 0)), name)
    _refuse_overlap_in_a_process(h, np.flatnonzero(returned), name)


def _refuse_clashing_attempts(h: History, rows: Ints, name: str) -> None:
    """Attempts of one key: each once, and all with one payload."""
    rows = rows[np.lexsort((h.attempt[rows], h.key[rows], h.event[rows]))]
    a, b = rows[:-1], rows[1:]
    same_key = (h.key[a] == h.key[b]) & (h.event[a] == h.event[b])
    a, b = a[same_key], b[same_key]
    refuse(h.attempt[a] == h.attempt[b], h.line[b], name, "the same attempt of its key stands twice", h.line[a])
    payload = h.op[a] != h.op[b]
    for column, ops in (("quantity", (BUY, HOLD)), ("order", (CANCEL,)), ("hold", (CONFIRM, RELEASE))):
        values = getattr(h, column)
        payload |= one_of(h.op[a], *ops) & (values[a] != values[b])
    refuse(payload, h.line[b], name, "its key stands with another payload", h.line[a])


def _refuse_overlap_in_a_process(h: History, rows: Ints, name: str) -> None:
    """A process does one thing at a time: its clock went back, or two processes share one number."""
    rows = rows[np.lexsort((h.return_ns[rows], h.invoke_ns[rows], h.process[rows], h.host[rows]))]
    a, b = rows[:-1], rows[1:]
    overlap = (h.process[a] == h.process[b]) & (h.host[a] == h.host[b]) & (h.invoke_ns[b] < h.return_ns[a])
    why = "its process was still in another operation: a clock went back, or two processes share a number"
    refuse(overlap, h.line[b], name, why, h.line[a])
