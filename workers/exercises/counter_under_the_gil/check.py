"""Two sales, which have to be counted."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


def setup(module: ModuleType) -> Any:
    return module.Counter()


def wrong(counter: Any) -> Finding | None:
    return None if counter.sold == 2 else Finding("counted", {"sold": counter.sold})


EXERCISE = Exercise(
    DrivingPlan(
        setup,
        {"Ann": lambda counter: counter.sell("Ann"), "Bob": lambda counter: counter.sell("Bob")},
        wrong,
        "Counter.greet",
    ),
    explore,
    needs=("Counter", "Counter.sell", "Counter.greet"),
)
