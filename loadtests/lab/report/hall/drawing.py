"""Draws a hall: one mark a seat, in rows before the stage, and outside of it the places that do not exist.

A seat of one buyer is a disc, a free one a point, one that is set aside a ring, and one of several buyers a red square
with their number: they differ in shape and in lightness, not in colour alone. A dashed line around a mark says that an
order of the seat is missing in the audit. Marks without words of their own are drawn many at a time, as the dashes of
one line, so that the drawing of a large hall stays small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints
from loadtests.lab.report import svg
from loadtests.lab.report.hall import words
from loadtests.lab.report.hall.holders import HallAfterSale
from loadtests.lab.report.hall.layout import LEFT, TOP, Layout, PlacedRow, layout
from loadtests.lab.report.hall.words import SeatCounts

STYLE = (
    svg.STYLE
    + """
.ls{--sold:#86bab2;--free:#98a3af}@media (prefers-color-scheme:dark){.ls{--sold:#2c7469;--free:#66717f}}
.ls .marks path{fill:none;stroke-linecap:round}.ls .marks .crowd{stroke-linecap:butt}
.ls .free{stroke:var(--free)}.ls .held{stroke:var(--soft)}.ls .hole{stroke:var(--inside)}.ls .one{stroke:var(--sold)}
.ls .crowd{stroke:var(--wrong)}.ls .several rect{fill:var(--wrong)}.ls .lost circle{fill:var(--sold)}
.ls .seat .gone{fill:none;stroke:var(--wrong);stroke-width:1.2;stroke-dasharray:2.5 1.8;opacity:.75}
.ls .seat text{fill:var(--inside);font-weight:650;font-size:inherit}.ls .names text{font-size:inherit}
.ls .legend text{font-size:15px}.ls .head text{font-size:16px}.ls .head .title{font-size:21px}
.ls .stage{fill:none;stroke:var(--soft);stroke-width:3;stroke-linecap:round}
"""
)

FREE, HELD, ONE, LOST, SEVERAL = range(5)
"""What a mark says; where it stands for several neighbours, the greatest of theirs."""

_MOST_NUMBERED = 2_000
"""The most seats of a hall in which each seat that was sold twice has its number."""

_MOST_WITH_WORDS = 160_000
"""The most characters of all seats that have words; the others are drawn without."""


@dataclass(frozen=True)
class HallDrawing:
    """A drawn hall: its elements and its size, what it says in sentences, and the words of the seats that have any."""

    title: str
    body: list[str]
    width: float
    height: float
    is_wrong: bool
    sentence: str
    seats: list[str]

    def svg(self, name: str) -> str:
        """The hall alone. ``name`` begins its ids, which must be unique in a page."""
        return beside([self], name)


def beside(halls: Sequence[HallDrawing], name: str) -> str:
    """Halls beside each other in one drawing."""
    body: list[str] = []
    left, gap = 0.0, 28.0
    for hall in halls:
        body += [f'<g transform="translate({svg.number(left)})">', *hall.body, "</g>"]
        left += hall.width + gap
    about = " ".join(f"{hall.title}: {hall.sentence}" for hall in halls)
    title = "The hall after the sale: " + ", ".join(hall.title for hall in halls)
    height = max(hall.height for hall in halls)
    return svg.document(body, left - gap, height, title=title, about=about, name=name, style=STYLE)


def draw(hall: HallAfterSale, title: str) -> HallDrawing:
    """The picture of one hall. Words name the seats that were sold twice, that do not exist, or whose order is lost."""
    counts = SeatCounts.of(hall)
    at = layout(hall.plan, len(hall.buyers) - hall.plan.places, words.not_there(counts))
    is_numbered = len(hall.buyers) <= _MOST_NUMBERED and at.pitch >= 13
    marks = _Marks(hall, at, is_numbered)
    for row in at.rows:
        marks.add(row)
    body = [
        '<g class="head">',
        svg.text(title, LEFT, 24, "title"),
        svg.text(words.verdict(counts), LEFT, 49, "alarm" if counts.is_wrong or counts.lost_orders else "fine"),
        svg.text("stage", at.width / 2, TOP - 26, "soft", "middle"),
        "</g>",
        svg.line(at.width * 0.28, TOP - 18, at.width * 0.72, TOP - 18, "stage"),
        f'<g class="names" style="font-size:{svg.number(max(7.5, min(13, 0.54 * at.pitch)))}px">',
        *(svg.text(text, x, y, kind, anchor) for text, x, y, kind, anchor in at.names),
        "</g>",
        *marks.drawn(),
    ]
    legend, height = _legend(counts, at, is_numbered)
    return HallDrawing(title, [*body, *legend], at.width, height, counts.is_wrong, words.sentence(counts), marks.words)


@dataclass
class _Marks:
    """The marks of a hall: those with words one by one, the others by their state."""

    hall: HallAfterSale
    at: Layout
    is_numbered: bool
    words: list[str] = field(default_factory=list)
    _single: list[str] = field(default_factory=list)
    _runs: dict[int, list[str]] = field(default_factory=dict)
    _pens: dict[int, tuple[float, float]] = field(default_factory=dict)
    _characters: int = 0

    def add(self, row: PlacedRow) -> None:
        states = _grouped(_states(self.hall, row.places.first, row.places.count), self.at.together)
        alone = np.zeros(len(states), np.bool_)
        if self.at.together == 1:
            for at in np.flatnonzero(states >= LOST).tolist():
                alone[at] = self._add_single(row, at, int(states[at]))
        changes = np.flatnonzero((np.diff(states) != 0) | alone[1:] | alone[:-1]) + 1
        for run in np.split(np.arange(len(states)), changes):
            if len(run) and not alone[run[0]]:
                self._add_run(row, int(run[0]), len(run), int(states[run[0]]))

    def _add_single(self, row: PlacedRow, at: int, state: int) -> bool:
        """Draws one seat by itself, where it has words or a number."""
        place = row.places.first + at
        said = ""
        if self._characters < _MOST_WITH_WORDS:
            said = words.seat(self.hall, place, self.hall.labels.get(place) or row.places.label(place))
            self.words.append(said)
        elif not self.is_numbered:
            return False
        number = int(self.hall.buyers[place]) if self.is_numbered else None
        is_lost = bool(self.hall.lost[place])
        seat = _Single(state, row.x + at * self.at.pitch, row.y, self.at.pitch, said, number, is_lost)
        self._single.append(seat.drawn())
        self._characters += len(self._single[-1])
        return True

    def _add_run(self, row: PlacedRow, first: int, count: int, state: int) -> None:
        """Marks of one state, as a line; a move from one line to the next of a row is shorter than a place."""
        pitch = self.at.pitch
        inset, length = (0.04 * pitch, (count - 0.08) * pitch) if state == SEVERAL else (pitch / 2, (count - 1) * pitch)
        x, y, length = (round(each, 1) for each in (row.x + first * pitch + inset, row.y + pitch / 2, length + 0.1))
        pen_x, pen_y = self._pens.get(state, (0.0, -1.0))
        move = f"m{svg.number(x - pen_x)} 0" if y == pen_y else f"M{svg.number(x)} {svg.number(y)}"
        self._runs.setdefault(state, []).append(f"{move}h{svg.number(length)}")
        self._pens[state] = x + length, y

    def drawn(self) -> Iterator[str]:
        yield '<g class="marks">'
        for state, parts in sorted(self._runs.items()):
            yield from _runs(state, "".join(parts), self.at.pitch)
        yield f'</g><g style="font-size:{svg.number(0.54 * self.at.pitch)}px">'
        yield from self._single
        yield "</g>"


def _states(hall: HallAfterSale, first: int, count: int) -> Ints:
    here = slice(first, first + count)
    buyers, lost, held = hall.buyers[here], hall.lost[here], hall.held[here]
    several: Bools = (buyers > 1) | ((np.arange(first, first + count) >= hall.plan.places) & (buyers > 0))
    return np.select([several, lost & (buyers == 1), buyers == 1, held], [SEVERAL, LOST, ONE, HELD], FREE)


def _grouped(states: Ints, together: int) -> Ints:
    return states if together == 1 else np.maximum.reduceat(states, np.arange(0, len(states), together))


def _runs(state: int, path: str, pitch: float) -> Iterator[str]:
    """Seats of one state as the dashes of lines: without length and with round ends they are discs."""

    def dashes(kind: str, thick: float, dash: float = 0.0) -> str:
        rhythm = f"{svg.number(dash)} {svg.number(pitch - dash)}" if dash else f"0 {svg.number(pitch)}"
        return f'<path class="{kind}" stroke-width="{thick:.3g}" stroke-dasharray="{rhythm}" d="{path}"/>'

    if state == SEVERAL:
        yield dashes("crowd", 0.92 * pitch, round(0.92 * pitch, 1))
    elif state == FREE:
        yield dashes("free", 0.3 * pitch)
    else:
        yield dashes("held" if state == HELD else "one", (0.66 if state == HELD else 0.78) * pitch)
        if state != ONE:
            yield dashes("hole", 0.4 * pitch)


@dataclass(frozen=True)
class _Single:
    """A seat by itself: a square with the number of its buyers, or the disc of a lost order."""

    state: int
    x: float
    y: float
    pitch: float
    said: str = ""
    number: int | None = None
    is_lost: bool = False

    def drawn(self) -> str:
        parts = [f"<title>{svg.escaped(self.said)}</title>"] if self.said else []
        parts += self._square() if self.state == SEVERAL else self._disc()
        return f'<g class="seat {"several" if self.state == SEVERAL else "lost"}">{"".join(parts)}</g>'

    def _square(self) -> Iterator[str]:
        is_framed = self.is_lost and self.pitch >= 13
        if is_framed:
            yield self._box(0.94, "gone")
        yield self._box(0.76 if is_framed else 0.92, "")
        if self.number is not None:
            yield svg.text(f"{self.number}", self.x + self.pitch / 2, self.y + 0.69 * self.pitch, "", "middle")

    def _box(self, share: float, kind: str) -> str:
        """A square in the middle that takes a share of the seat's width."""
        inset, size = (1 - share) / 2 * self.pitch, share * self.pitch
        return svg.box(self.x + inset, self.y + inset, size, size, kind, 0.1 * self.pitch)

    def _disc(self) -> Iterator[str]:
        middle = f'cx="{svg.number(self.x + self.pitch / 2)}" cy="{svg.number(self.y + self.pitch / 2)}"'
        yield f'<circle {middle} r="{0.3 * self.pitch:.3g}"/>'
        yield f'<circle class="gone" {middle} r="{0.42 * self.pitch:.3g}"/>'


def _legend(counts: SeatCounts, at: Layout, is_numbered: bool) -> tuple[list[str], float]:
    """What each mark means, with how many there are; and the height of the whole drawing."""
    several = "sold to several buyers" + (": the number says to how many" if is_numbered else "")
    entries = [(ONE, f"{counts.one:,} sold to one buyer"), (FREE, f"{counts.free:,} free")]
    entries += [(HELD, f"{counts.held:,} set aside, not paid")] if counts.held else []
    entries += [(SEVERAL, f"{counts.several:,} {several}")] if counts.is_wrong else []
    entries += [(LOST, "dashed: the office has lost an order of it")] if counts.lost_orders else []
    size, x, y = 20.0, LEFT, at.bottom + 14
    drawn, paths = [], list[str]()
    for state, text in entries:
        needed = size + 8 + svg.width_of(text, 15) + 20
        if x > LEFT and x + needed > at.width:
            x, y = LEFT, y + 27
        if state >= LOST:
            drawn.append(_Single(state, x, y, size).drawn())
        else:
            paths += _runs(state, f"M{svg.number(x + size / 2)} {svg.number(y + size / 2)}h.1", size)
        drawn.append(svg.text(text, x + size + 8, y + 15, "soft"))
        x += needed
    if at.together > 1:
        y += 27
        text = f"A mark stands for {at.together} neighbours: for the worst of them."
        drawn.append(svg.text(text, LEFT, y + 15, "soft"))
    return ['<g class="marks">', *paths, '</g><g class="legend">', *drawn, "</g>"], y + 34
