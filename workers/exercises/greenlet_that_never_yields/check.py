"""A greenlet that adds up, and two that answer visitors in the meantime."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import gevent

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.greenlets import explore_greenlets
from workers.exercises.common.program import replace_function

PRICES = list(range(100))
VISITS = 4
"""Of each visitor."""
MOST_IN_A_ROW = 10


class Day:
    """The office, and how many prices were added while a visitor waited."""

    def __init__(self, module: ModuleType) -> None:
        self.total: int | None = None
        self.answers: list[int] = []
        self._in_a_row = 0
        self.longest = 0
        self.added = 0
        replace_function(module, "Office.add", self._counted)
        self.office = module.Office(PRICES)

    def _counted(self, add: Callable[..., int]) -> Callable[..., int]:
        def counted(*arguments: Any) -> int:
            self.added += 1
            if len(self.answers) < 2 * VISITS:
                self._in_a_row += 1
                self.longest = max(self.longest, self._in_a_row)
            return add(*arguments)

        return counted

    def visit(self) -> None:
        """A visitor who comes back as soon as others have had their turn."""
        for _ in range(VISITS):
            self.answers.append(self.office.answer())
            self._in_a_row = 0
            gevent.sleep(0)

    def report(self) -> None:
        """The sum of the year."""
        self.total = self.office.report()


def wrong(day: Day) -> Finding | None:
    if day.total != sum(PRICES):
        return Finding("wrong_sum", {"total": day.total, "right": sum(PRICES)})
    if day.added != len(PRICES):
        return Finding("not_added", {"added": day.added, "prices": len(PRICES)})
    if sorted(day.answers) != list(range(1, 2 * VISITS + 1)):
        return Finding("wrong_visits", {"answers": ", ".join(map(str, day.answers))})
    if day.longest > MOST_IN_A_ROW:
        return Finding("starved", {"longest": day.longest, "most": MOST_IN_A_ROW})
    return None


EXERCISE = Exercise(
    DrivingPlan(Day, {"Ann": Day.visit, "Bob": Day.visit, "report": Day.report}, wrong),
    explore_greenlets,
    needs=("Office", "Office.add", "Office.report", "Office.answer"),
    needs_overlap=False,
)
