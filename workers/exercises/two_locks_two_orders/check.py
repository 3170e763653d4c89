"""Two buyers who change shows with each other, and one who has nothing to do with them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore

_FREE = {"comedy": 5, "tragedy": 5, "opera": 4, "ballet": 6}
"""How many seats have to be free at the end; at the beginning there were five in each show."""


class Box:
    """Four shows."""

    def __init__(self, module: ModuleType) -> None:
        self.move = module.move
        self.shows = {name: module.Show(name, 5) for name in _FREE}


def move(buyer: str, old: str, new: str) -> Callable[[Box], None]:
    return lambda box: box.move(buyer, box.shows[old], box.shows[new])


def wrong(box: Box) -> Finding | None:
    for name, free in _FREE.items():
        if box.shows[name].free != free:
            return Finding("free", {"show": name, "free": box.shows[name].free, "expected": free})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Box,
        {
            "Ann": move("Ann", "comedy", "tragedy"),
            "Bob": move("Bob", "tragedy", "comedy"),
            "Carl": move("Carl", "ballet", "opera"),
        },
        wrong,
        "change",
    ),
    explore,
    needs=("Show", "change", "move"),
)
