"""When orders and holds were open: from the record that opens one to the first later record that closes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints, lookup

FOREVER = 2**62


@dataclass(frozen=True)
class Lifetimes:
    """Things by id: ``opened`` and ``closed`` are indices of records, ``closed`` is FOREVER for what stays open.

    ``again`` are records that open what had been opened before, ``wrongly`` those that close what is not open.
    """

    ids: Ints
    opened: Ints
    closed: Ints
    again: Ints
    wrongly: Ints

    @classmethod
    def of(cls, ids: Ints, opens: Bools, closes: Bools) -> Lifetimes:
        """From each record's id, and which records open and which close; records without an id take no part."""
        opening, closing = np.flatnonzero(opens & (ids >= 0)), np.flatnonzero(closes & (ids >= 0))
        known, first = np.unique(ids[opening], return_index=True)
        opened = opening[first]
        opened_by = lookup(known, opened, ids[closing], FOREVER)
        after = closing[opened_by < closing]
        closed_ids, first_close = np.unique(ids[after], return_index=True)
        effective = after[first_close]
        return cls(
            ids=known,
            opened=opened,
            closed=lookup(closed_ids, effective, known, FOREVER),
            again=np.setdiff1d(opening, opened, assume_unique=True),
            wrongly=np.setdiff1d(closing, effective, assume_unique=True),
        )

    def open_after(self, wanted: Ints, records: Ints) -> Bools:
        """For each wanted id, whether it is open after that number of records."""
        opened = lookup(self.ids, self.opened, wanted, FOREVER)
        closed = lookup(self.ids, self.closed, wanted, FOREVER)
        is_open: Bools = (opened < records) & (closed >= records)
        return is_open

    def opening_of(self, wanted: Ints) -> Ints:
        """The record that opened each wanted id, -1 if none did."""
        return lookup(self.ids, self.opened, wanted, -1)


def range_maximum(values: Ints, low: Ints, high: Ints) -> Ints:
    """The maximum of ``values[low:high]`` for each pair, -1 where it is empty; values are at least -1.

    The sparse table of Bender and Farach-Colton, one level in memory at a time: O(n log n) time, O(n) space.
    """
    out = np.full(len(low), -1)
    length = np.maximum(high - low, 0)
    level, width = values, 1
    while width <= len(values):
        at = np.flatnonzero((length >= width) & (length < 2 * width))
        out[at] = np.maximum(level[low[at]], level[high[at] - width])
        level = np.maximum(level[:-width], level[width:])
        width *= 2
    return out
