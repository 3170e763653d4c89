"""The plots of a run's report: tickets and rates over time, and latencies by percentile."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.lab.experiment.measurement import Course
from loadtests.lab.report import svg
from loadtests.lab.report.figures import Distribution, Rates
from loadtests.lab.report.svg.chart import (
    Frame,
    below,
    curves,
    level,
    linear,
    outline,
    round_step,
    seats,
    tick,
    upwards,
)

_W, _H, _LEFT, _RIGHT, _TOP = 1080.0, 250.0, 72.0, 1064.0, 20.0
_HALF_H = 120.0
MOST_EVENTS = 24
"""The most events that are drawn, one line each; more lines would hide each other."""


@dataclass(frozen=True)
class Band:
    """A fault in the time of an event, in seconds after the event's first operation."""

    name: str
    begin_s: float
    end_s: float


def course_plot(courses: Sequence[Course], capacities: dict[str, int | None], bands: Sequence[Band], name: str) -> str:
    """Tickets acknowledged over time against the capacity, a line for each event."""
    drawn = courses[:MOST_EVENTS]
    known = [capacity for course in drawn if (capacity := capacities.get(course.event)) is not None]
    most = max([1, *known, *(max(course.tickets) for course in drawn)]) * 1.1
    longest = max([1e-6, *(course.seconds[-1] for course in drawn)])
    at = Frame(most, linear(longest), _LEFT, _RIGHT, _TOP, _H - 20)
    body = [*_bands(bands, at, longest), *upwards(at, "tickets acknowledged", least_step=1), *_seconds(at, longest)]
    for capacity in sorted(set(known)):
        body += seats(at, capacity)
    for course in drawn:
        capacity = capacities.get(course.event)
        wrong = capacity is not None and max(course.tickets) > capacity
        points = [(at.x(second), at.y(tickets)) for second, tickets in zip(course.seconds, course.tickets, strict=True)]
        body.append(svg.stairs(points, "wrong" if wrong else "right", _opacity(drawn)))
    about = f"One line for each of {len(drawn)} events; the dashed line is the number of seats."
    return svg.document(body, _W, _H + 38, title="Tickets acknowledged over time", about=about, name=name)


def rates_plot(rates: Sequence[Rates], bands: Sequence[Band], name: str) -> str:
    """Tickets sold a second, and below it, on the same time, purchases refused a second."""
    drawn = rates[:MOST_EVENTS]
    longest = max([1e-6, *(len(each.sold) * each.width_s for each in drawn)])
    body: list[str] = []
    for number, (label, colour) in enumerate((("tickets sold a second", "one"), ("purchases refused a second", "two"))):
        lines = [each.refused if number else each.sold for each in drawn]
        most = max([1e-9, *(max(line) for line in lines)]) * 1.12
        at = Frame(most, linear(longest), _LEFT, _RIGHT, _TOP + number * (_HALF_H + 44), _HALF_H)
        body += [*_bands(bands, at, longest), *upwards(at, label, least_step=1 if most >= 1 else 0)]
        for each, line in zip(drawn, lines, strict=True):
            points = [(at.x(i * each.width_s), at.y(value)) for i, value in enumerate([*line, 0.0])]
            body.append(svg.stairs(points, colour, _opacity(drawn)))
        if number:
            body += _seconds(at, longest)
    about = "Above, tickets sold a second; below, purchases refused a second; one line for each event."
    height = _TOP + 2 * _HALF_H + 44 + 38
    return svg.document(body, _W, height, title="Sold and refused a second", about=about, name=name)


def percentile_plot(distributions: Sequence[Distribution], title: str, name: str) -> str:
    """Milliseconds by percentile, both logarithmic, so that the slowest few are as visible as the others."""
    drawn = sorted(distributions, key=lambda each: -each.count)[: len(svg.COLOURS)]
    nines = max(2.0, *(math.log10(2 * each.count) for each in drawn))
    positive = [ms for each in drawn for _, ms in each.curve if ms > 0] or [1.0]
    low = max(math.log10(min(positive)), -3) - 0.05
    high = max(math.log10(max(positive)), low + 0.5) + 0.05

    def share(value: float) -> float:
        return min(-math.log10(max(1 - value, 1e-12)), nines) / nines

    def log(ms: float) -> float:
        return math.log10(max(ms, 10.0**low)) - low

    at = Frame(high - low, share, _LEFT, _RIGHT - 130, _TOP, _H - 30)
    body: list[str] = []
    for ms in _levels(low, high):
        body += level(at, log(ms), f"{ms:,g} ms")
    for value in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999):
        if -math.log10(1 - value) <= nines:
            body += tick(at, value, "fastest" if value == 0 else f"p{value * 100:.6g}")
    body.append(outline(at))
    named = zip(drawn, svg.COLOURS, strict=False)
    body += curves(at, [(each.name, colour, [(x, log(ms)) for x, ms in each.curve], "end") for each, colour in named])
    about = "Percentiles from left to right, milliseconds upwards, both logarithmic. The table has the numbers."
    return svg.document(body, _W, at.bottom + 34, title=title, about=about, name=name)


def _levels(low: float, high: float) -> list[float]:
    """Round values between two powers of ten: 1, 2, 5, or only the tens where there are many."""
    factors = (1, 2, 5) if high - low < 3 else (1,)
    levels = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high)) for factor in factors]
    return [ms for ms in levels if low <= math.log10(ms) <= high]


def _bands(bands: Sequence[Band], at: Frame, longest: float) -> Iterator[str]:
    for band in bands:
        left, right = at.x(max(0.0, band.begin_s)), at.x(min(band.end_s, longest))
        if right >= left:
            yield svg.box(left, at.top, max(1.5, right - left), at.height, "fault")
            yield svg.text(band.name, left + 4, at.bottom - 6, "soft")


def _seconds(at: Frame, longest: float) -> Iterator[str]:
    step = round_step(longest / 8)
    for number in range(int(longest / step) + 1):
        label = f"{number * step:.6g}" + (" s" if number == 0 else "")
        yield svg.text(label, at.x(number * step), at.bottom + 18, "soft", "middle")
    yield below(at, "after the event's first operation")


def _opacity(drawn: Sequence[object]) -> float:
    return 1 if len(drawn) < 3 else 0.6
