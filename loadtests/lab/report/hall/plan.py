"""The places of an event in their rows: the seats of its hall, or, where it has none, as many places as its capacity.

Places are numbered from 0, in the order of the hall. A place of an event without a hall has the number of a ticket.
Where buyers choose seats and nobody told the hall, the seats that they asked for are its places.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from loadtests.lab.protocol.halls import Hall

MOST_PLACES = 1_000_000
"""Events with more places are not drawn."""

MOST_ROWS = 10_000
"""Events with more rows are not drawn."""

MOST_MARKS = 20_000
"""Where there are more places, a mark stands for several neighbours."""

_FEWEST_IN_A_ROW = 20


@dataclass(frozen=True)
class PlanRow:
    """Neighbouring places: the first of them, how many there are, and how each is called."""

    name: str
    first: int
    count: int
    prefix: str = ""
    number: int = 1
    """The number of the first place within its row, or of its ticket."""
    labels: tuple[str, ...] = ()
    """The names of the places, where they are not the prefix and a number."""

    def label(self, place: int) -> str:
        at = place - self.first
        return self.labels[at] if self.labels else f"{self.prefix}{self.number + at}"


@dataclass(frozen=True)
class PlanSection:
    """Rows that stand together; the first is the nearest to the stage."""

    name: str
    rows: tuple[PlanRow, ...]

    @property
    def width(self) -> int:
        return max((row.count for row in self.rows), default=0)


@dataclass(frozen=True)
class SeatingPlan:
    """The sections of an event. Without ``seats`` its tickets have numbers, and any ticket may have any place."""

    sections: tuple[PlanSection, ...]
    has_seats: bool

    @property
    def rows(self) -> Iterator[PlanRow]:
        return (row for section in self.sections for row in section.rows)

    @property
    def places(self) -> int:
        return sum(row.count for row in self.rows)

    @property
    def can_be_drawn(self) -> bool:
        return 0 < self.places <= MOST_PLACES and sum(len(section.rows) for section in self.sections) <= MOST_ROWS


def neighbours_in_a_mark(places: int) -> int:
    """How many neighbours one mark stands for, so that no picture has more than ``MOST_MARKS``."""
    return max(1, math.ceil(places / MOST_MARKS))


def plan_of_capacity(capacity: int) -> SeatingPlan:
    """Rows of 20, or of more where the capacity is large: about twice as wide as deep."""
    together = neighbours_in_a_mark(capacity)
    width = together * max(_FEWEST_IN_A_ROW, 10 * math.ceil(math.sqrt(2 * capacity / together) / 10))
    rows = (
        PlanRow(str(first + 1), first, min(width, capacity - first), "ticket ", first + 1)
        for first in range(0, capacity, width)
    )
    return SeatingPlan((PlanSection("", tuple(rows)),), has_seats=False)


def plan_of_seats(names: Iterable[str]) -> SeatingPlan:
    """The seats that buyers asked for, in rows as above; numbers within their names count as numbers."""
    ordered = sorted(names, key=lambda name: [part.zfill(20) for part in re.split(r"(\d+)", name)])
    rows = [
        replace(row, name="", labels=tuple(ordered[row.first : row.first + row.count]))
        for row in plan_of_capacity(len(ordered)).rows
    ]
    return SeatingPlan((PlanSection("", tuple(rows)),), has_seats=True)


def plan_of_hall(hall: Hall) -> SeatingPlan:
    """The rows of a hall, section by section."""
    starts = hall.row_starts.tolist()
    rows = [
        PlanRow(name, first, end - first, labels=hall.ids[first:end])
        for name, (first, end) in zip(hall.row_names, pairwise(starts), strict=True)
    ]
    first_rows = np.searchsorted(hall.row_starts, hall.section_starts).tolist()
    sections = zip(hall.section_names, pairwise(first_rows), strict=True)
    return SeatingPlan(
        tuple(PlanSection(name, tuple(rows[low:high])) for name, (low, high) in sections), has_seats=True
    )
