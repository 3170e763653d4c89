"""When each seat was taken: from the record that gives it to an order or a hold to the one that ends it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtests.lab.checks.case.lifetimes import FOREVER, Lifetimes
from loadtests.lab.history.arrays import Bools, Ints, Ragged, pick


@dataclass(frozen=True)
class Occupancy:
    """Intervals in columns, by seat and by the record that ``opened`` them; ``latest`` is the last record that closes
    any of the seat's intervals so far, FOREVER where one stays open."""

    records: int
    seat: Ints
    opened: Ints
    closed: Ints
    latest: Ints

    @classmethod
    def of(cls, seats: Ragged, nameless: Ints, *lifetimes: Lifetimes) -> Occupancy:
        """From the seats of all records, and the lifetimes of the orders and of the holds that they open and close.

        The records ``nameless`` open something that has no id, so that nothing can close it.
        """
        records = len(seats.offsets) - 1
        opened = np.concatenate([nameless, *(each.opened for each in lifetimes)])
        closed = np.concatenate([np.full(len(nameless), FOREVER), *(each.closed for each in lifetimes)])
        theirs = seats.take(opened)
        seat, rows = theirs.flat, theirs.rows()
        in_order = np.lexsort((opened[rows], seat))
        seat, opened, closed = seat[in_order], opened[rows][in_order], closed[rows][in_order]
        # Each seat's records are lifted above those of the seats before, so that one running maximum serves all.
        lift = seat * (records + 2)
        latest = np.maximum.accumulate(lift + np.minimum(closed, records + 1)) - lift
        return cls(records, seat, opened, closed, np.where(latest > records, FOREVER, latest))

    def taken_after(self, seats: Ints, records: Ints) -> Bools:
        """For each seat, whether it is taken after that number of records."""
        width = self.records + 2
        at = (
            np.searchsorted(self.seat * width + self.opened, seats * width + records) - 1
        )  # the last that begins before
        taken: Bools = (pick(self.seat, at, -1) == seats) & (pick(self.latest, at, -1) >= records)
        return taken

    def overlaps(self) -> Ints:
        """The intervals that begin while an earlier one of the same seat has not ended."""
        same = np.flatnonzero(self.seat[1:] == self.seat[:-1]) + 1
        return same[self.latest[same - 1] > self.opened[same]]

    def earlier(self, interval: int) -> int:
        """The interval of the same seat that an overlapping one meets."""
        at = interval - 1
        while self.closed[at] <= self.opened[interval]:
            at -= 1
        return at

    def taken_in(self, low: int, high: int, records: Ints) -> Ints:
        """How many of the seats from ``low`` to before ``high`` are taken after each number of records."""
        inside = (self.seat >= low) & (self.seat < high)
        opened, closed = np.sort(self.opened[inside]), np.sort(self.closed[inside])
        return np.searchsorted(opened, records) - np.searchsorted(closed, records)
