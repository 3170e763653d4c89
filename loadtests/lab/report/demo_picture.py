"""The picture: tickets acknowledged over time, a row of panels for each worker model, as a static SVG.

For a README, a slide, a page without JavaScript. It carries its colours for light and dark within.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from loadtests.lab.experiment.measurement import Course
from loadtests.lab.experiment.runner import Result
from loadtests.lab.report.sentences import heading

_PANEL_W, _PANEL_H, _GAP_X, _GAP_Y = 330, 170, 34, 58
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 62, 18, 40
_STYLE = """
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2733}
.title{font-size:17px;font-weight:650}.panel{font-weight:600}.small{font-size:11.5px;fill:#5b6675}
.frame{fill:none;stroke:#cfd6df}.grid{stroke:#e6eaef}.wrong{stroke:#c8372d;fill:none}.right{stroke:#12766b;fill:none}
.seats{stroke:#1f2733;stroke-dasharray:5 4}.too-many{fill:#c8372d;opacity:.07}
.wrong-text{fill:#c8372d;font-weight:650}.right-text{fill:#12766b;font-weight:650}
@media (prefers-color-scheme:dark){text{fill:#e8edf4}.small{fill:#9fabba}.frame{stroke:#3a4553}.grid{stroke:#2a333f}
.wrong{stroke:#ff7a6b}.right{stroke:#43c9b6}.seats{stroke:#e8edf4}.too-many{fill:#ff7a6b}.wrong-text{fill:#ff7a6b}
.right-text{fill:#43c9b6}}
"""


def picture(results: list[Result]) -> str:
    """An SVG document. Panels of one worker model share both axes, so that off and on can be compared by eye."""
    rows = _by_worker(results)
    columns = max(len(row) for row in rows)
    width = _LEFT + columns * _PANEL_W + (columns - 1) * _GAP_X + _RIGHT
    height = _TOP + len(rows) * (_PANEL_H + _GAP_Y) - _GAP_Y + _BOTTOM
    title = "Tickets that buyers hold an answer for, over time"
    body = "\n".join(_body(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<text class="title" x="{_LEFT}" y="24">{title}</text>\n{body}\n</svg>\n'
    )


def _by_worker(results: Iterable[Result]) -> list[list[Result]]:
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.experiment.service.spelled, []).append(result)
    return list(rows.values())


class _Frame(NamedTuple):
    """Where a panel stands and what it shows: tickets up to ``most``, seconds up to ``longest``."""

    left: float
    top: float
    most: float
    longest: float

    def x(self, seconds: float) -> str:
        return f"{self.left + seconds / self.longest * _PANEL_W:.1f}"

    def y(self, tickets: float) -> str:
        return f"{self.bottom - tickets / self.most * _PANEL_H:.1f}"

    @property
    def right(self) -> float:
        return self.left + _PANEL_W

    @property
    def bottom(self) -> float:
        return self.top + _PANEL_H


def _body(rows: list[list[Result]]) -> Iterator[str]:
    everything = [result for row in rows for result in row]
    for number, row in enumerate(rows):
        courses = [course for result in row for course in result.measures.courses]
        most = max([row[0].experiment.workload.capacity, *(max(course.tickets) for course in courses)]) * 1.08
        longest = max([0.1, *(course.seconds[-1] for course in courses)])
        top = _TOP + number * (_PANEL_H + _GAP_Y)
        for column, result in enumerate(row):
            title = f"{result.experiment.service.spelled} · {heading(result, everything)}"
            at = _Frame(_LEFT + column * (_PANEL_W + _GAP_X), top, most, longest)
            yield from _panel(result, title, at, brief=len(row) > 2)


def _panel(result: Result, title: str, at: _Frame, *, brief: bool) -> Iterator[str]:
    seats = result.experiment.workload.capacity
    kind = "wrong" if result.rounds_wrong else "right"
    limit = at.y(seats)
    sold = f"{result.verdict.acknowledged:,}" + ("" if brief else f" for {result.capacity:,} seats")
    yield _text("panel", at.left, at.top - 9, title)
    yield _text(f"{kind}-text", at.right, at.top - 9, sold, end=True)
    yield (
        f'<rect class="too-many" x="{at.left}" y="{at.top}" width="{_PANEL_W}" height="{float(limit) - at.top:.1f}"/>'
    )
    for value in _ticks(at.most):
        yield _level("grid", at, at.y(value))
        if at.left == _LEFT:
            yield _text("small", at.left - 8, float(at.y(value)) + 4, f"{value:,}", end=True)
    for course in result.measures.courses:
        yield f'<path class="{kind}" stroke-width="1.8" d="{_path(course, at)}"/>'
    yield _level("seats", at, limit)
    yield _text("small", at.right - 6, float(limit) - 5, f"{seats:,} seats", end=True)
    yield f'<rect class="frame" x="{at.left}" y="{at.top}" width="{_PANEL_W}" height="{_PANEL_H}"/>'
    yield _text("small", at.left, at.bottom + 17, "0 s")
    yield _text("small", at.right, at.bottom + 17, f"{at.longest:.1f} s", end=True)


def _text(kind: str, x: float, y: float, words: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text class="{kind}"{anchor} x="{x}" y="{y:.1f}">{escape(words)}</text>'


def _level(kind: str, at: _Frame, y: str) -> str:
    return f'<line class="{kind}" x1="{at.left}" x2="{at.right}" y1="{y}" y2="{y}"/>'


def _path(course: Course, at: _Frame) -> str:
    """Steps: the count holds until the next sale."""
    points = [(at.x(second), at.y(tickets)) for second, tickets in zip(course.seconds, course.tickets, strict=True)]
    return f"M{points[0][0]} {points[0][1]}" + "".join(f"H{x}V{y}" for x, y in points[1:])


def _ticks(most: float) -> list[int]:
    """Up to five round values, none above ``most``."""
    for power in itertools.count():
        for step in (10**power, 2 * 10**power, 5 * 10**power):
            if most / step <= 5:
                return list(range(step, int(most) + 1, step))
    raise AssertionError
