"""The picture: tickets acknowledged over time, a row of panels for each worker model, as a static SVG.

For a README, a slide, a page without JavaScript. It carries its colours for light and dark within.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from html import escape

from loadtests.lab.experiment import Result
from loadtests.lab.measure import Course

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


def _body(rows: list[list[Result]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        most = max(max(course.tickets) for result in row for course in result.measures.courses)
        most = max(most, row[0].experiment.workload.capacity) * 1.08
        longest = max(course.seconds[-1] for result in row for course in result.measures.courses)
        top = _TOP + number * (_PANEL_H + _GAP_Y)
        for column, result in enumerate(row):
            yield from _panel(result, _LEFT + column * (_PANEL_W + _GAP_X), top, most, longest)


def _panel(result: Result, left: float, top: float, most: float, longest: float) -> Iterator[str]:
    seats = result.experiment.workload.capacity
    kind = "wrong" if result.rounds_wrong else "right"
    bottom = top + _PANEL_H
    limit = bottom - seats / most * _PANEL_H
    service = result.experiment.service
    yield f'<text class="panel" x="{left}" y="{top - 9}">{escape(service.spelled)} · {escape(service.guard)}</text>'
    yield (
        f'<text class="{kind}-text" text-anchor="end" x="{left + _PANEL_W}" y="{top - 9}">'
        f"{result.verdict.acknowledged:,} for {result.capacity:,} seats</text>"
    )
    yield f'<rect class="too-many" x="{left}" y="{top}" width="{_PANEL_W}" height="{limit - top:.1f}"/>'
    for value in _ticks(most):
        y = bottom - value / most * _PANEL_H
        yield f'<line class="grid" x1="{left}" x2="{left + _PANEL_W}" y1="{y:.1f}" y2="{y:.1f}"/>'
        if left == _LEFT:
            yield f'<text class="small" text-anchor="end" x="{left - 8}" y="{y + 4:.1f}">{value:,}</text>'
    for course in result.measures.courses:
        yield f'<path class="{kind}" stroke-width="1.8" d="{_path(course, left, bottom, most, longest)}"/>'
    yield f'<line class="seats" x1="{left}" x2="{left + _PANEL_W}" y1="{limit:.1f}" y2="{limit:.1f}"/>'
    yield f'<text class="small" text-anchor="end" x="{left + _PANEL_W - 6}" y="{limit - 5:.1f}">{seats:,} seats</text>'
    yield f'<rect class="frame" x="{left}" y="{top}" width="{_PANEL_W}" height="{_PANEL_H}"/>'
    yield f'<text class="small" x="{left}" y="{bottom + 17}">0 s</text>'
    yield f'<text class="small" text-anchor="end" x="{left + _PANEL_W}" y="{bottom + 17}">{longest:.1f} s</text>'


def _path(course: Course, left: float, bottom: float, most: float, longest: float) -> str:
    points = [
        (left + second / longest * _PANEL_W, bottom - tickets / most * _PANEL_H)
        for second, tickets in zip(course.seconds, course.tickets, strict=True)
    ]
    start = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    return start + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points[1:])


def _ticks(most: float) -> list[int]:
    """Up to five round values, none above ``most``."""
    for power in itertools.count():
        for step in (10**power, 2 * 10**power, 5 * 10**power):
            if most / step <= 5:
                return list(range(step, int(most) + 1, step))
    raise AssertionError
