"""Where the rows of a hall are drawn: sections beside and behind each other, and below them what does not exist."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtests.lab.report.hall.plan import PlanRow, PlanSection, SeatingPlan, neighbours_in_a_mark

LEFT, TOP = 36.0, 108.0
_LARGEST_PITCH, _LEAST_PITCH = 24.0, 5.0
_WIDEST, _NARROWEST = 1040.0, 540.0
_MOST_NAMES = 1_500
"""Where there are more names of sections and rows, none is drawn."""
_AISLE = 3
"""The distance of sections that stand beside each other, in seats."""


@dataclass(frozen=True)
class PlacedRow:
    """A row on the drawing: its places, and the upper left corner of the first of its marks."""

    places: PlanRow
    x: float
    y: float


@dataclass
class Layout:
    """The rows of a hall on a drawing; ``pitch`` is the size of a seat, and ``together`` the seats in one mark."""

    width: float
    pitch: float
    together: int
    rows: list[PlacedRow] = field(default_factory=list)
    names: list[tuple[str, float, float, str, str]] = field(default_factory=list)
    bottom: float = TOP

    def marks(self, seats: int) -> int:
        return math.ceil(seats / self.together)


def layout(plan: SeatingPlan, beyond: int, title: str) -> Layout:
    """Place the sections of a plan, and below its ``title`` as many places beyond it.

    Wide halls get smaller seats, down to a limit.
    """
    together = neighbours_in_a_mark(plan.places)
    shelves = _shelves(plan.sections, together)
    widest = max([1, *(_width(shelf, together) for shelf in shelves)])
    pitch = max(_LEAST_PITCH, min(_LARGEST_PITCH, (_WIDEST - 2 * LEFT) / widest))
    pitch = math.floor(10 * pitch) / 10  # as it will be written: the error of a rounded one would add up in a row
    found = Layout(max(_NARROWEST, 2 * LEFT + widest * pitch), pitch, together)
    for shelf in shelves:
        _place(found, shelf, is_centred=plan.has_seats)
    if beyond:
        width = together * max(20, widest)
        first = range(plan.places, plan.places + beyond, width)
        rows = (PlanRow("", at, min(width, plan.places + beyond - at), "") for at in first)
        _place(found, [PlanSection(title, tuple(rows))], is_centred=True, kind="alarm")
    if len(found.names) > _MOST_NAMES:
        found.names.clear()
    return found


def _place(on: Layout, shelf: Sequence[PlanSection], *, is_centred: bool, kind: str = "strong") -> None:
    """Sections beside each other, below those that are there."""
    x, top = (on.width - _width(shelf, on.together) * on.pitch) / 2, on.bottom
    for section in shelf:
        width, y = on.marks(section.width) * on.pitch, top
        if section.name:
            on.names.append((section.name, x + width / 2, y + 6, kind, "middle"))
            y += 16
        every = 1 if on.pitch >= 10 else math.ceil(10 / on.pitch) * 5
        for number, row in enumerate(section.rows):
            left = x + (width - on.marks(row.count) * on.pitch) / 2 if is_centred else x
            if row.name and number % every == 0:
                on.names.append((row.name, left - 6, y + on.pitch / 2 + 4, "soft", "end"))
            on.rows.append(PlacedRow(row, left, y))
            y += on.pitch
        x += width + _AISLE * on.pitch
        on.bottom = max(on.bottom, y)
    on.bottom += 18


def _shelves(sections: Sequence[PlanSection], together: int) -> list[list[PlanSection]]:
    """Sections of about the same depth beside each other, as long as the hall stays about twice as wide as deep."""
    seats = sum(row.count for section in sections for row in section.rows)
    limit = max([2 * math.sqrt(seats / together), *(_width([section], together) for section in sections)])
    shelves: list[list[PlanSection]] = []
    for section in sections:
        beside = [*(shelves[-1] if shelves else []), section]
        depths = [len(each.rows) for each in beside]
        if shelves and _width(beside, together) <= limit and 2 * min(depths) >= max(depths):
            shelves[-1].append(section)
        else:
            shelves.append([section])
    return shelves


def _width(shelf: Sequence[PlanSection], together: int) -> int:
    """The width of sections beside each other, in marks."""
    return sum(math.ceil(section.width / together) for section in shelf) + _AISLE * (len(shelf) - 1)
