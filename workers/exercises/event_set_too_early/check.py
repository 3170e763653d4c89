"""A clerk who opens the doors, and two buyers who wait there."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


class Evening:
    """The doors, and what each buyer chose."""

    def __init__(self, module: ModuleType) -> None:
        self.doors = module.Doors()
        self.chosen: dict[str, str] = {}


def enter(buyer: str, evening: Evening) -> None:
    evening.chosen[buyer] = evening.doors.enter(buyer)


def wrong(evening: Evening) -> Finding | None:
    for buyer, chosen in evening.chosen.items():
        if chosen != f"{buyer} pays 20":
            return Finding("price", {"buyer": buyer, "chosen": chosen})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Evening,
        {"Clerk": lambda evening: evening.doors.open(20), "Ann": partial(enter, "Ann"), "Bob": partial(enter, "Bob")},
        wrong,
        "Doors.choose",
    ),
    explore,
    needs=("Doors", "Doors.open", "Doors.enter", "Doors.choose"),
)
