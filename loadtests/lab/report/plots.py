"""Plots as static SVG: lines over time, and latencies by percentile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.lab.experiment.measurement import Course
from loadtests.lab.report import svg
from loadtests.lab.report.figures import Distribution, Rates
from loadtests.lab.report.svg.timeline import round_step

_W, _H, _LEFT, _RIGHT, _TOP = 1080.0, 250.0, 72.0, 1064.0, 20.0
_HALF_H = 120.0
MOST_EVENTS = 24
"""Events of which a line is drawn; more would hide each other."""


@dataclass(frozen=True)
class Band:
    """A fault in the time of an event: what it was, and from when to when in seconds after the event's first
    operation."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class _Frame:
    """Where a plot stands and what it shows: seconds up to ``longest``, values up to ``most``."""

    top: float
    height: float
    longest: float
    most: float

    def x(self, seconds: float) -> float:
        return _LEFT + seconds / self.longest * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - value / self.most)


def course_plot(courses: Sequence[Course], capacities: dict[str, int | None], bands: Sequence[Band], name: str) -> str:
    """Tickets acknowledged over time against the capacity, a line for each event."""
    drawn = courses[:MOST_EVENTS]
    seats = [capacity for course in drawn if (capacity := capacities.get(course.event)) is not None]
    most = max([1, *seats, *(max(course.tickets) for course in drawn)]) * 1.1
    at = _Frame(_TOP, _H - 20, max([1e-6, *(course.seconds[-1] for course in drawn)]), most)
    body = [*_bands(bands, at), *_axes(at, "tickets acknowledged"), *_seconds(at)]
    for capacity in sorted(set(seats)):
        y = at.y(capacity)
        body.append(svg.box(_LEFT, at.top, _RIGHT - _LEFT, y - at.top, "over"))
        body.append(svg.line(_LEFT, y, _RIGHT, y, "capacity"))
        body.append(svg.text(f"{capacity:,} seats", _RIGHT - 6, y - 6, "soft", "end"))
    for course in drawn:
        capacity = capacities.get(course.event)
        wrong = capacity is not None and max(course.tickets) > capacity
        path = _steps([(at.x(s), at.y(t)) for s, t in zip(course.seconds, course.tickets, strict=True)])
        body.append(_curve(path, "wrong" if wrong else "right", 1 if len(drawn) < 3 else 0.6))
    about = f"One line for each of {len(drawn)} events; the dashed line is how many seats there are."
    return svg.document(body, _W, _H + 38, title="Tickets acknowledged over time", about=about, name=name)


def rates_plot(rates: Sequence[Rates], bands: Sequence[Band], name: str) -> str:
    """Tickets sold a second, and below it, on the same time, purchases refused a second."""
    drawn = rates[:MOST_EVENTS]
    longest = max([1e-6, *(len(each.sold) * each.width_s for each in drawn)])
    body: list[str] = []
    for number, (label, colour) in enumerate((("tickets sold a second", "one"), ("purchases refused a second", "two"))):
        lines = [each.refused if number else each.sold for each in drawn]
        top = _TOP + number * (_HALF_H + 44)
        at = _Frame(top, _HALF_H, longest, max([1e-9, *(max(line) for line in lines)]) * 1.12)
        body += [*_bands(bands, at), *_axes(at, label)]
        for each, line in zip(drawn, lines, strict=True):
            points = [(at.x(i * each.width_s), at.y(value)) for i, value in enumerate([*line, 0.0])]
            body.append(_curve(_steps(points), colour, 1 if len(drawn) < 3 else 0.6))
        if number:
            body += _seconds(at)
    about = "Above, tickets sold a second; below, purchases refused a second; one line for each event."
    height = _TOP + 2 * _HALF_H + 44 + 38
    return svg.document(body, _W, height, title="Sold and refused a second", about=about, name=name)


def percentile_plot(distributions: Sequence[Distribution], title: str, name: str) -> str:
    """Milliseconds by percentile, both logarithmic, so that the slowest few are seen as well as the many."""
    drawn = sorted(distributions, key=lambda each: -each.count)[: len(svg.COLOURS)]
    nines = max(2.0, *(math.log10(2 * each.count) for each in drawn))
    positive = [ms for each in drawn for _, ms in each.curve if ms > 0] or [1.0]
    low = max(math.log10(min(positive)), -3) - 0.05
    high = max(math.log10(max(positive)), low + 0.5) + 0.05
    height, right = _H - 30, _RIGHT - 130

    def x(share: float) -> float:
        return _LEFT + min(-math.log10(max(1 - share, 1e-12)), nines) / nines * (right - _LEFT)

    def y(ms: float) -> float:
        log = math.log10(max(ms, 10.0**low))
        return _TOP + height * (1 - (log - low) / (high - low))

    body = []
    for level in _levels(low, high):
        body.append(svg.line(_LEFT, y(level), right, y(level), "grid"))
        body.append(svg.text(f"{level:,g} ms", _LEFT - 8, y(level) + 4, "soft", "end"))
    for share in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999):
        if -math.log10(1 - share) <= nines:
            body.append(svg.line(x(share), _TOP, x(share), _TOP + height, "grid"))
            words = "fastest" if share == 0 else f"p{share * 100:.6g}"
            body.append(svg.text(words, x(share), _TOP + height + 18, "soft", "middle"))
    body.append(svg.box(_LEFT, _TOP, right - _LEFT, height, "axis"))
    places = _apart([y(each.curve[-1][1]) + 4 for each in drawn], 16)
    for each, colour, place in zip(drawn, svg.COLOURS, places, strict=False):
        path = "M" + "L".join(f"{svg.number(x(share))} {svg.number(y(ms))}" for share, ms in each.curve)
        body.append(_curve(path, colour, 1))
        end = x(each.curve[-1][0])
        body.append(
            f'<text x="{svg.number(right + 8)}" y="{svg.number(place)}" style="fill:var(--{colour})">'
            f"{svg.escaped(each.name)}</text>"
        )
        body.append(
            f'<circle cx="{svg.number(end)}" cy="{svg.number(y(each.longest))}" r="3" style="fill:var(--{colour})"/>'
        )
    about = "Percentiles from left to right, milliseconds upwards, both logarithmic. The table has the numbers."
    return svg.document(body, _W, _TOP + height + 34, title=title, about=about, name=name)


def _levels(low: float, high: float) -> list[float]:
    """Round values between two powers of ten: 1, 2, 5, or only the tens where there are many."""
    factors = (1, 2, 5) if high - low < 3 else (1,)
    levels = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high)) for factor in factors]
    return [level for level in levels if low <= math.log10(level) <= high]


def _apart(places: list[float], least: float) -> list[float]:
    """Moves labels down until each is ``least`` from the one above it."""
    moved = list(places)
    above = -math.inf
    for index in sorted(range(len(places)), key=places.__getitem__):
        moved[index] = above = max(places[index], above + least)
    return moved


def _bands(bands: Sequence[Band], at: _Frame) -> Iterator[str]:
    for band in bands:
        left, right = at.x(max(0.0, band.begin_s)), at.x(min(band.end_s, at.longest))
        if right >= left:
            yield svg.box(left, at.top, max(1.5, right - left), at.height, "fault")
            yield svg.text(band.name, left + 4, at.top + at.height - 6, "soft")


def _axes(at: _Frame, label: str) -> Iterator[str]:
    yield svg.text(label, _LEFT, at.top - 7, "strong")
    step = max(round_step(at.most / 5), 1.0) if at.most >= 1 else round_step(at.most / 5)
    value = 0.0
    while value <= at.most:
        yield svg.line(_LEFT, at.y(value), _RIGHT, at.y(value), "grid")
        yield svg.text(f"{value:,.10g}", _LEFT - 8, at.y(value) + 4, "soft", "end")
        value += step
    yield svg.box(_LEFT, at.top, _RIGHT - _LEFT, at.height, "axis")


def _seconds(at: _Frame) -> Iterator[str]:
    step = round_step(at.longest / 8)
    for number in range(int(at.longest / step) + 1):
        label = f"{number * step:.6g}" + (" s" if number == 0 else "")
        yield svg.text(label, at.x(number * step), at.top + at.height + 18, "soft", "middle")
    yield svg.text("after the event's first operation", _RIGHT, at.top + at.height + 34, "soft", "end")


def _curve(path: str, colour: str, opacity: float) -> str:
    return f'<path class="curve" style="stroke:var(--{colour})" opacity="{opacity:g}" d="{path}"/>'


def _steps(points: list[tuple[float, float]]) -> str:
    """A value holds until the next one."""
    first, *rest = points
    path = f"M{svg.number(first[0])} {svg.number(first[1])}"
    return path + "".join(f"H{svg.number(x)}V{svg.number(y)}" for x, y in rest)
