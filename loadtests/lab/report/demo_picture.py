"""The picture of a demo: tickets acknowledged over time, a row of panels for each worker model, as a static SVG.

It is meant for a README, a slide, or a page without JavaScript.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.lab.experiment.runner import Result
from loadtests.lab.report import svg
from loadtests.lab.report.svg.chart import Frame, level, linear, outline, seats
from loadtests.lab.report.text import heading

_PANEL_W, _PANEL_H, _GAP_X, _GAP_Y = 330, 170, 34, 58
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 62, 18, 40


def picture(results: list[Result]) -> str:
    """The panels of one worker model share both axes, so that lock off and lock on can be compared by eye."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.experiment.service.spelled, []).append(result)
    columns = max(map(len, rows.values()))
    title = "Tickets that buyers hold an answer for, over time"
    body = [svg.text(title, _LEFT, 24, "title")]
    for number, row in enumerate(rows.values()):
        body += _row(row, results, _TOP + number * (_PANEL_H + _GAP_Y))
    width = _LEFT + columns * _PANEL_W + (columns - 1) * _GAP_X + _RIGHT
    height = _TOP + len(rows) * (_PANEL_H + _GAP_Y) - _GAP_Y + _BOTTOM
    about = "A row for each worker model, a panel for each guard, a line for each round; the dashed line is the seats."
    return svg.document(body, width, height, title=title, about=about, name="demo")


def _row(row: list[Result], results: list[Result], top: float) -> Iterator[str]:
    courses = [course for result in row for course in result.measures.courses]
    most = max([row[0].experiment.workload.capacity, *(max(course.tickets) for course in courses)]) * 1.08
    longest = max([0.1, *(course.seconds[-1] for course in courses)])
    for column, result in enumerate(row):
        left = _LEFT + column * (_PANEL_W + _GAP_X)
        at = Frame(most, linear(longest), left, left + _PANEL_W, top, _PANEL_H)
        yield svg.text(f"{result.experiment.service.spelled} · {heading(result, results)}", left, top - 9, "strong")
        sold = f"{result.verdict.acknowledged:,}" + ("" if len(row) > 2 else f" for {result.capacity:,} seats")
        yield svg.text(sold, at.right, top - 9, "alarm" if result.rounds_wrong else "fine", "end")
        for tickets in at.steps(least=1)[1:]:
            if column == 0:
                yield from level(at, tickets, f"{tickets:,.0f}")
            else:
                yield svg.line(left, at.y(tickets), at.right, at.y(tickets), "grid")
        for course in result.measures.courses:
            points = [(at.x(second), at.y(sold)) for second, sold in zip(course.seconds, course.tickets, strict=True)]
            yield svg.stairs(points, "wrong" if result.rounds_wrong else "right")
        yield from seats(at, result.experiment.workload.capacity)
        yield outline(at)
        yield svg.text("0 s", left, at.bottom + 17, "soft")
        yield svg.text(f"{longest:.1f} s", at.right, at.bottom + 17, "soft", "end")
