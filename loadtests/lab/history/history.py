"""Histories: what a load test recorded, from JSON Lines into columns.

A history is immutable and columnar: row i of every column belongs to one operation. Numbers that the file does
not have are ``ABSENT``, strings are ids of ``StringIds``, times are nanoseconds, and an operation that never
returned returns at ``NEVER``.

What cannot have been recorded honestly is refused here, with its line, so that no check draws a verdict from it: a
return before its invocation, one key with two payloads, one attempt twice, a process in two operations at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import numpy as np

from loadtests.lab.history.arrays import ABSENT, NEVER, Codes, Floats, Ints, Ragged, StringIds, one_of, same_rows
from loadtests.lab.history.audit import Audit, read_audit
from loadtests.lab.history.columns import (
    Count,
    HistoryError,
    Number,
    Quantity,
    Source,
    Time,
    name_of,
    read_table,
    refuse,
)
from loadtests.lab.history.recorder import Completion, Op
from loadtests.lab.history.seating import SeatColumns, seat_columns

__all__ = ["ABSENT", "NEVER", "Audit", "History", "HistoryError", "read_audit", "read_history"]

OPS: tuple[str, ...] = get_args(Op)
BUY, READ, CANCEL, HOLD, CONFIRM, RELEASE = range(6)

OUTCOMES: tuple[str, ...] = get_args(Completion)
OK, SOLD_OUT, REFUSED, FAIL, UNKNOWN, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER = range(8)
TICKETS_REFUSED = (SOLD_OUT, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER)
"""The outcomes of a wish for tickets that was refused."""


Lifetime = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class HistoryLine(msgspec.Struct, gc=False):
    """A line of a history, as the contract gives it; fields that a reader does not use are ignored."""

    process: Number
    op: Op
    event: str
    invoke_ns: Time
    return_ns: Time | None
    outcome: Completion
    key: str | None = None
    attempt: Number = 1
    quantity: Number | None = ABSENT
    replayed: bool | None = None
    order: str | None = None
    hold: str | None = None
    tickets: tuple[Number, ...] | None = ()
    remaining: Number | None = ABSENT
    version: Number | None = ABSENT
    seats: tuple[str, ...] | None = None
    wanted: tuple[str, ...] | None = None
    taken: tuple[str, ...] | None = None
    together: bool | None = None
    section: str | None = None


class _CheckedLine(HistoryLine, gc=False):
    """A line that the checks can judge."""

    attempt: Quantity = 1
    quantity: Quantity | None = ABSENT
    version: Count | None = ABSENT
    cart: str | None = None
    map: str | None = None
    seat: str | None = None
    seconds: Lifetime | None = None
    host: str | None = None
    resolution_ns: Time | None = ABSENT


@dataclass(frozen=True)
class History:
    """Operations in columns: ``key``, ``order``, ``hold``, ``cart``, ``host`` are ids (-1: none).

    ``event`` indexes ``events``; ``op`` and ``outcome`` are codes (``OPS``, ``OUTCOMES``); ``replayed`` is 1, 0 or -1
    for absent; ``return_ns`` is NEVER for an unknown outcome. ``marks_replays`` says whether the whole history has that
    field anywhere. ``seconds`` is how long a hold was asked for, NaN where nobody said. ``seating`` is what the
    operations say of seats, None where they say nothing.

    A clock that tells milliseconds alone may be wrong by one: each time is widened by its ``resolution_ns``, so that a
    rounded time never makes a violation. ``recorded`` has the times as they stand in the file.
    """

    events: tuple[str, ...]
    keys: StringIds
    orders: StringIds
    holds: StringIds
    carts: StringIds
    hosts: StringIds
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
    resolution_ns: Ints
    replayed: Codes
    quantity: Ints
    order: Ints
    hold: Ints
    cart: Ints
    remaining: Ints
    version: Ints
    seconds: Floats
    tickets: Ragged
    seating: SeatColumns | None

    def __len__(self) -> int:
        return len(self.line)

    def take(self, rows: Ints) -> History:
        columns: dict[str, Any] = {
            field.name: column[rows]
            for field in fields(self)
            if isinstance(column := getattr(self, field.name), np.ndarray)
        }
        seating = None if self.seating is None else self.seating.take(rows)
        return replace(self, tickets=self.tickets.take(rows), seating=seating, **columns)

    def recorded(self, rows: Ints) -> tuple[Ints, Ints]:
        """When the operations at ``rows`` were invoked and when they returned, not widened; NEVER stays NEVER."""
        resolution, returned = self.resolution_ns[rows], self.return_ns[rows]
        return self.invoke_ns[rows] + resolution, np.where(returned == NEVER, NEVER, returned - resolution)

    @classmethod
    def of(cls, operations: Iterable[Mapping[str, object]]) -> History:
        """A history from operations given as mappings. Raises HistoryError as reading does."""
        return read_history(b"\n".join(map(msgspec.json.encode, operations)))


def read_history(source: Source | str, *, resolution_ns: int = 0) -> History:
    """Read a history from a path (plain or gzip) or from bytes.

    ``resolution_ns`` is what the clocks could not tell, of the operations that do not say it themselves.
    Raises HistoryError naming the line that is no JSON, lacks a field, breaks off, or cannot have been recorded.
    """
    source = Path(source) if isinstance(source, str) else source
    columns, names = read_table(source, _CheckedLine)
    of_a_seat = (columns["seat"] >= 0) & (columns["outcome"] == SOLD_OUT) & one_of(columns["op"], BUY, HOLD)
    seating = seat_columns(columns, names, of_a_seat)
    if seating is not None:
        columns["outcome"] = np.where(of_a_seat, np.int8(SEAT_TAKEN), columns["outcome"])
        asks = one_of(columns["op"], BUY, HOLD) & (columns["quantity"] == ABSENT) & seating.wanted.told
        columns["quantity"] = np.where(asks, seating.wanted.lists.lengths, columns["quantity"])
    event_ids, event = np.unique(columns["event"], return_inverse=True)
    never = (columns["outcome"] == UNKNOWN) | (columns["return_ns"] == ABSENT)
    silent = one_of(columns["outcome"], FAIL, UNKNOWN)  # whatever else such a line has is no answer
    columns |= {name: np.where(silent, ABSENT, columns[name]) for name in ("remaining", "version")}
    resolution = np.where(columns["resolution_ns"] == ABSENT, resolution_ns, columns["resolution_ns"])
    columns |= {
        "event": event,
        "invoke_ns": np.maximum(columns["invoke_ns"] - resolution, 0),
        "return_ns": np.where(never, NEVER, columns["return_ns"] + resolution),
        "resolution_ns": resolution,
    }
    history = History(
        events=tuple(str(names["event"].string(number)) for number in event_ids),
        keys=names["key"],
        orders=names["order"],
        holds=names["hold"],
        carts=names["cart"],
        hosts=names["host"],
        marks_replays=bool((columns["replayed"] >= 0).any()),
        seating=seating,
        **columns,
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
    odd |= one_of(h.outcome, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER) & ~one_of(h.op, BUY, HOLD)
    refuse(odd, h.line, name, "an outcome that this operation cannot have")
    if h.seating is not None:
        wanted = h.seating.wanted
        other = one_of(h.op, BUY, HOLD) & wanted.told & (wanted.lists.lengths != h.quantity)
        refuse(other, h.line, name, "it wants another number of seats than its `quantity`")
    _refuse_clashing_attempts(h, np.flatnonzero(mutation & (h.key >= 0)), name)
    _refuse_overlap_in_a_process(h, np.flatnonzero(returned), name)


def _refuse_clashing_attempts(h: History, rows: Ints, name: str) -> None:
    """Each attempt of a key must be there once, and all must have one payload."""
    rows = rows[np.lexsort((h.attempt[rows], h.key[rows], h.event[rows]))]
    a, b = rows[:-1], rows[1:]
    same_key = (h.key[a] == h.key[b]) & (h.event[a] == h.event[b])
    a, b = a[same_key], b[same_key]
    refuse(h.attempt[a] == h.attempt[b], h.line[b], name, "the same attempt of its key stands twice", h.line[a])
    payload = h.op[a] != h.op[b]
    for column, ops in (("quantity", (BUY, HOLD)), ("order", (CANCEL,)), ("hold", (CONFIRM, RELEASE))):
        values = getattr(h, column)
        payload |= one_of(h.op[a], *ops) & (values[a] != values[b])
    if h.seating is not None:
        wanted, together, section = h.seating.wanted.lists, h.seating.together, h.seating.section
        differs = ~same_rows(wanted.take(a), wanted.take(b)) | (together[a] != together[b]) | (section[a] != section[b])
        payload |= one_of(h.op[a], BUY, HOLD) & differs
    refuse(payload, h.line[b], name, "its key stands with another payload", h.line[a])


def _refuse_overlap_in_a_process(h: History, rows: Ints, name: str) -> None:
    """A process does one thing at a time: its clock went back, or two processes share one number."""
    rows = rows[np.lexsort((h.return_ns[rows], h.invoke_ns[rows], h.process[rows], h.host[rows]))]
    a, b = rows[:-1], rows[1:]
    # Not before it surely was: the widened times of two operations in a row overlap by what the clock cannot tell.
    began, ended = h.invoke_ns[b] + 2 * h.resolution_ns[b], h.return_ns[a] - 2 * h.resolution_ns[a]
    overlap = (h.process[a] == h.process[b]) & (h.host[a] == h.host[b]) & (began < ended)
    why = "its process was still in another operation: a clock went back, or two processes share a number"
    refuse(overlap, h.line[b], name, why, h.line[a])
