"""The page of an exploration, which opens offline."""

from __future__ import annotations

from pathlib import Path

from loadtests.lab.explore.drawing import draw
from loadtests.lab.explore.exploration import ExplorationResult
from loadtests.lab.report.pages import template

HERE = Path(__file__).parent


def report(explored: ExplorationResult) -> str:
    """The verdict, then the schedule that lost (or one that did not), then the number of schedules."""
    case, first = explored.case, explored.first
    title = f"The losing schedule: guard {case.guard}" if first else f"One of the schedules: guard {case.guard}"
    steps, reason = (first.steps, first.reason) if first else (explored.example, None)
    drawing = draw(steps, case.buyers, title, reason=reason)
    return template("explored.html", HERE).render(explored=explored, case=case, drawing=drawing)
