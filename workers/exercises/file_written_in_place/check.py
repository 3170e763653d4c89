"""One process writes a file, the other reads it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.scheduler import explore_processes

FREE = {"A1": "", "A2": "", "A3": ""}
SOLD = FREE | {"A2": "Cem"}
SEEN = ("Ann.seen", "Bob.seen")


class Evening:
    """The show of one process, and the file."""

    def __init__(self, module: ModuleType) -> None:
        self.file = Path("seats.json")
        self.file.write_text(json.dumps(FREE), encoding="utf-8")
        self.show = module.Show(Path.cwd())


def look(evening: Evening) -> None:
    Path("Ann.seen").write_text("\n".join(evening.show.look()), encoding="utf-8")


def sell(evening: Evening) -> None:
    evening.show.sell("A2", "Cem")
    Path("Bob.seen").write_text("\n".join(evening.show.look()), encoding="utf-8")


def wrong(evening: Evening) -> Finding | None:
    try:
        written = json.loads(evening.file.read_bytes())
    except (OSError, ValueError):
        written = None
    if written != SOLD:
        return Finding("not_written")
    before, after = (_page(seats) for seats in (FREE, SOLD))
    ann, bob = (Path(name).read_text(encoding="utf-8").splitlines() for name in SEEN)
    if bob != after:
        return Finding("not_seen")
    return None if ann in (before, after) else Finding("half_seen", {"lines": len(ann), "seats": len(FREE)})


def _page(seats: dict[str, str]) -> list[str]:
    return [f"{seat}: {buyer or 'free'}" for seat, buyer in seats.items()]


EXERCISE = Exercise(
    DrivingPlan(Evening, {"Ann": look, "Bob": sell}, wrong, "Show.draw"),
    explore_processes,
    needs=("Show", "Show.draw", "Show.look", "Show.sell"),
)
