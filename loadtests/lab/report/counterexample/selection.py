"""The selection of a counterexample: the few operations that prove a violation, and those around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from loadtests.lab.checks.verdict import EventCounts, Verdict, Witness, WitnessOperation
from loadtests.lab.history.arrays import ABSENT, Ints
from loadtests.lab.history.audit import KINDS, Audit
from loadtests.lab.history.history import OPS, OUTCOMES, READ
from loadtests.lab.history.operations import Operations
from loadtests.lab.protocol.halls import Hall, HallError

MOST_COUNTEREXAMPLES = 4
MOST_NEIGHBOURS = 6
MOST_RECORDS = 6
MOST_ROWS = 2
MOST_SEATS = 16

CLEAREST = (
    "oversold", "seat sold twice", "double-booked", "lost sale", "half a cart", "inversion", "double apply",
    "false sold-out", "phantom",
)  # fmt: skip
"""The violations that are easiest to understand; the others follow in the order of the checks."""


class DrawnOperation(WitnessOperation):
    """One operation for a drawing, with all of its answer. A value that no answer gave is None."""

    order: str | None = None
    quantity: int | None = None
    tickets: tuple[int, ...] = ()
    seats: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    together: bool = False
    section: str | None = None
    remaining: int | None = None
    replayed: bool = False


@dataclass(frozen=True)
class DrawnRecord:
    """One record of the audit for a drawing; ``place`` counts from 1; ``mark`` is wrong, here, or empty."""

    place: int
    version: int
    kind: str
    key: str | None
    tickets: tuple[int, ...]
    mark: str


@dataclass(frozen=True)
class DrawnRow:
    """A row of the hall for a drawing: the ids of its seats, in order, and which of them the violation is about.

    ``title`` says which row it is. ``left_out`` is how many seats of the row are not among them.
    """

    title: str
    seats: tuple[str, ...]
    marked: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Counterexample:
    """A witness with its surroundings.

    ``operations`` take part, in the order of the witness; ``neighbours`` are a few of the ``overlapping`` other
    operations that were under way meanwhile. ``records`` are the relevant records of the audit, and those beside them.
    ``rows`` are the rows of the hall whose seats the violation is about. ``also`` are violations that the same
    operations prove.
    """

    witness: Witness
    event: str
    counts: EventCounts | None
    operations: tuple[DrawnOperation, ...]
    neighbours: tuple[DrawnOperation, ...]
    overlapping: int
    records: tuple[DrawnRecord, ...] = ()
    rows: tuple[DrawnRow, ...] = ()
    also: tuple[str, ...] = field(default=())

    @property
    def violation(self) -> str:
        return self.witness.violation


def select(verdict: Verdict, run: Operations, audits: Mapping[str, Audit]) -> list[Counterexample]:
    """The first witness of each violation, the clearest first, at most ``MOST_COUNTEREXAMPLES``.

    A double booking gets no drawing of its own if its buyers already stand in the drawing of the oversell.
    """
    first: dict[str, Witness] = {}
    for check in verdict.checks:
        for witness in check.witness:
            first.setdefault(witness.violation, witness)
    chosen = sorted(first.values(), key=lambda each: (_rank(each.violation), not each.operations))
    oversold, twice = first.get("oversold"), first.get("double-booked")
    also: tuple[str, ...] = ()
    if oversold and twice and _lines(twice) <= _lines(oversold):
        chosen.remove(twice)
        also = (twice.violation,)
    drawn = [_counterexample(witness, verdict, run, audits) for witness in chosen[:MOST_COUNTEREXAMPLES]]
    return [replace(example, also=also) if example.violation == "oversold" else example for example in drawn]


def _rank(violation: str) -> int:
    return CLEAREST.index(violation) if violation in CLEAREST else len(CLEAREST)


def _lines(witness: Witness) -> set[int]:
    return {operation.line for operation in witness.operations}


def _counterexample(witness: Witness, verdict: Verdict, run: Operations, audits: Mapping[str, Audit]) -> Counterexample:
    rows = _rows(run, list(dict.fromkeys(operation.line for operation in witness.operations)))
    event = witness.operations[0].event if witness.operations else _only_event(verdict, audits)
    audit = audits.get(event)
    records: tuple[DrawnRecord, ...] = ()
    if audit is not None:
        if witness.violation == "lost sale":
            rows, records = _with_the_winner(rows, run, audit)
        else:
            records = _records(audit, witness.records)
    number = _event_number(run, event)
    rivals = rows[1:] if witness.violation == "oversold" and len(rows) == 3 else rows  # the race is between the two
    beside, overlapping = _neighbours(run, number, rows, rivals)
    return Counterexample(
        witness=witness,
        event=event,
        counts=verdict.events.get(event),
        operations=tuple(_operation(run, row) for row in rows.tolist()),
        neighbours=tuple(_operation(run, row) for row in beside.tolist()),
        overlapping=overlapping,
        records=records,
        rows=_rows_of_the_hall(audit, witness.seats),
    )


def _rows_of_the_hall(audit: Audit | None, seats: Sequence[str]) -> tuple[DrawnRow, ...]:
    """The rows in which these seats are, at most ``MOST_ROWS``; without a hall, the seats alone."""
    hall = None
    with suppress(HallError):
        hall = None if audit is None or audit.hall is None else Hall.of(audit.hall)
    known = [] if hall is None else [hall.index[seat] for seat in seats if seat in hall.index]
    rows = [] if hall is None else [_row_with(hall, row, known) for row in dict.fromkeys(hall.row_of[known].tolist())]
    strange = tuple(seat for seat in seats if hall is None or seat not in hall.index)
    if strange:
        title = "The seats in question" if hall is None else "Seats that the hall does not have"
        rows.append(DrawnRow(title, strange[:MOST_SEATS], strange[:MOST_SEATS], max(0, len(strange) - MOST_SEATS)))
    return tuple(rows[:MOST_ROWS])


def _row_with(hall: Hall, row: int, marked: Sequence[int]) -> DrawnRow:
    """A row of the hall, around those of the marked seats that are in it."""
    start, end = int(hall.row_starts[row]), int(hall.row_starts[row + 1])
    here = [seat for seat in marked if start <= seat < end]
    first = max(start, min((min(here) + max(here) + 1 - MOST_SEATS) // 2, end - MOST_SEATS))
    shown = hall.ids[first : min(end, first + MOST_SEATS)]
    title = f"Row {hall.ids[start].rpartition('-')[0]}"
    return DrawnRow(title, shown, tuple(hall.ids[seat] for seat in here), end - start - len(shown))


def _only_event(verdict: Verdict, audits: Mapping[str, Audit]) -> str:
    """The event of a witness that names no operation: known only if there is just one."""
    events = list(verdict.events) or list(audits)
    return events[0] if len(events) == 1 else ""


def _event_number(run: Operations, event: str) -> int:
    return next((int(run.event[rows[0]]) for name, rows in run.events() if name == event), -1)


def _rows(run: Operations, lines: list[int]) -> Ints:
    at = np.searchsorted(run.line, np.array(lines, np.int64))
    at = at[at < len(run)]
    return at.astype(np.int64)


def _with_the_winner(rows: Ints, run: Operations, audit: Audit) -> tuple[Ints, tuple[DrawnRecord, ...]]:
    """Add the winner: the operation whose record has the version that the lost operation was answered; and records."""
    version = int(run.version[rows[0]])
    places = np.flatnonzero(audit.version == version) if version != ABSENT else np.zeros(0, np.int64)
    if not len(places):
        return rows, _records(audit, [len(audit)] if len(audit) else [], "")
    key = audit.keys.string(int(audit.key[places[0]]))
    event = run.event[rows[0]]
    same = np.flatnonzero((run.version == version) & (run.event == event) & (run.op != READ))
    winners = [row for row in same.tolist() if run.names["key"].string(int(run.key[row])) == key and row != rows[0]]
    records = _records(audit, [int(places[0]) + 1], "here")
    return np.concatenate((rows, np.array(winners[:1], np.int64))), records


def _records(audit: Audit, places: list[int], mark: str = "wrong") -> tuple[DrawnRecord, ...]:
    """The records at some places, and those before and after them, up to the largest number shown."""
    wanted = [place for place in places if 1 <= place <= len(audit)][:MOST_RECORDS]
    for distance in (1, 2):
        for place in list(wanted):
            for beside in (place - distance, place + distance):
                if 1 <= beside <= len(audit) and beside not in wanted and len(wanted) < MOST_RECORDS:
                    wanted.append(beside)
    return tuple(
        DrawnRecord(
            place=place,
            version=int(audit.version[place - 1]),
            kind=KINDS[audit.kind[place - 1]],
            key=audit.keys.string(int(audit.key[place - 1])),
            tickets=tuple(audit.tickets.row(place - 1)),
            mark=mark if place in places else "",
        )
        for place in sorted(wanted)
    )


def _neighbours(run: Operations, event: int, drawn: Ints, rows: Ints) -> tuple[Ints, int]:
    """A few operations of the event that were under way together with some of ``rows``, and the number of them all.

    Those of the same version come first, then mutations, then those with the longest overlap. If no operation takes
    part, the last operations of the event are chosen.
    """
    here = np.flatnonzero(run.event == event) if event >= 0 else np.arange(len(run))
    here = here[~np.isin(here, drawn)]
    if not len(rows):
        last = here[np.argsort(run.invoke_ns[here], kind="stable")][-MOST_NEIGHBOURS:]
        return last, len(last)
    ended = np.where(run.returned, run.return_ns, np.iinfo(np.int64).max)
    together = np.zeros(len(here), np.int64)
    for row in rows.tolist():
        shared = np.minimum(ended[here], ended[row]) - np.maximum(run.invoke_ns[here], run.invoke_ns[row])
        together = np.maximum(together, shared)
    meanwhile = here[together > 0]
    together = together[together > 0]
    same_version = np.isin(run.version[meanwhile], run.version[rows]) & (run.version[meanwhile] != ABSENT)
    mutates = run.op[meanwhile] != READ
    best = np.lexsort((-together, ~mutates, ~same_version))[:MOST_NEIGHBOURS]
    chosen = meanwhile[best]
    return chosen[np.argsort(run.invoke_ns[chosen], kind="stable")], len(meanwhile)


def _operation(run: Operations, row: int) -> DrawnOperation:
    return DrawnOperation(
        event=run.names["event"].string(int(run.event[row])) or "",
        line=int(run.line[row]),
        process=int(run.process[row]),
        op=OPS[run.op[row]],
        outcome=OUTCOMES[run.outcome[row]],
        invoke_ns=int(run.invoke_ns[row]),
        return_ns=_told(run.return_ns, row),
        key=run.names["key"].string(int(run.key[row])),
        order=run.names["order"].string(int(run.order[row])),
        attempt=int(run.attempt[row]),
        quantity=_told(run.quantity, row),
        tickets=tuple(run.tickets.row(row)),
        seats=tuple(run.seats.row(row)),
        wanted=tuple(run.wanted.row(row)),
        taken=tuple(run.taken.row(row)),
        together=bool(run.together[row] == 1),
        section=run.names["section"].string(int(run.section[row])),
        remaining=_told(run.remaining, row),
        version=_told(run.version, row),
        replayed=bool(run.replayed[row] == 1),
    )


def _told(column: Ints, row: int) -> int | None:
    value = int(column[row])
    return None if value == ABSENT else value
