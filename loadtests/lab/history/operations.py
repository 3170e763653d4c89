"""A history for reports: every operation with all that was recorded of it, in columns.

The checks read only what they decide on, and refuse what cannot have been recorded (``history``). A report must be
possible then too, and needs more: which worker answered, how long it waited. So this reader judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtests.lab.history.arrays import ABSENT, Bools, Codes, Floats, Ints, Ragged, StringIds, WordLists, one_of
from loadtests.lab.history.columns import Number, Source, Time, read_table
from loadtests.lab.history.history import BUY, CONFIRM, OK, HistoryLine


class _ReportLine(HistoryLine, gc=False):
    """A line with the fields that only reports read."""

    worker: Number | None = None
    node: Number | None = None
    seat: str | None = None
    status: Number | None = None
    intended_ns: Time | None = None
    wait_ms: float | None = None
    hold_ms: float | None = None
    store_ms: float | None = None


@dataclass(frozen=True)
class Operations:
    """Operations in columns, in the order of the file. Numbers that are not there are ABSENT, times in ms are NaN.

    ``event``, ``key``, ``order``, ``hold``, ``seat`` are ids of ``names``; ``op`` and ``outcome`` are codes as in
    ``history``.
    """

    names: dict[str, StringIds]
    line: Ints
    event: Ints
    key: Ints
    order: Ints
    hold: Ints
    op: Codes
    outcome: Codes
    replayed: Codes
    process: Ints
    attempt: Ints
    invoke_ns: Ints
    return_ns: Ints
    quantity: Ints
    remaining: Ints
    version: Ints
    worker: Ints
    node: Ints
    seat: Ints
    status: Ints
    intended_ns: Ints
    wait_ms: Floats
    hold_ms: Floats
    store_ms: Floats
    tickets: Ragged
    seats: WordLists
    wanted: WordLists
    taken: WordLists
    together: Codes
    section: Ints

    def __len__(self) -> int:
        return len(self.line)

    @property
    def returned(self) -> Bools:
        """Which operations had an answer of any kind."""
        returned: Bools = self.return_ns != ABSENT
        return returned

    @cached_property
    def latency_ms(self) -> Floats:
        """From the intended start where there is one, else from the invocation, to the whole answer; NaN without one.

        The intended start keeps a slow service from hiding how long its buyers would have waited.
        """
        start = np.where(self.intended_ns == ABSENT, self.invoke_ns, self.intended_ns)
        return np.where(self.returned, (self.return_ns - start) / 1e6, np.nan)

    @cached_property
    def sales(self) -> Ints:
        """Rows of acknowledged purchases, each key once, by its first answer: a replayed answer sells nothing new."""
        rows = np.flatnonzero(one_of(self.op, BUY, CONFIRM) & (self.outcome == OK) & self.returned)
        rows = rows[np.argsort(self.return_ns[rows], kind="stable")]
        keys = np.where(self.key[rows] < 0, -1 - rows, self.key[rows])  # without a key: each its own
        _, first = np.unique(np.stack((self.event[rows], keys)), axis=1, return_index=True)
        return rows[np.sort(first)]

    @cached_property
    def tickets_sold(self) -> Ints:
        """How many tickets each row's answer gave or asked for: its numbers, else its quantity, else one."""
        given = self.tickets.lengths
        return np.where(given > 0, given, np.where(self.quantity > 0, self.quantity, 1))

    def events(self) -> list[tuple[str, Ints]]:
        """The events in the order of their first operations, each with its rows."""
        found = [(event, np.flatnonzero(self.event == event)) for event in np.unique(self.event)]
        found.sort(key=lambda each: int(self.invoke_ns[each[1]].min()))
        return [(self.names["event"].string(int(event)) or "", rows) for event, rows in found]


def read_operations(source: Source) -> Operations:
    """Read a history, plain or gzip. Raises HistoryError naming the line that is no operation or breaks off."""
    columns, names = read_table(source, _ReportLine)
    return Operations(names=names, **columns)
