"""A pool of two workers, which sends two tickets, one of them without an address."""

from __future__ import annotations

from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.scheduled_pool import PoolWorkers
from workers.exercises.common.threads import explore

_ADDRESSES = {"Bob": "", "Ann": "Main Street 1"}


class Day:
    """The post, its workers, and who was reported as failed."""

    def __init__(self, module: ModuleType) -> None:
        self.workers = PoolWorkers(module)
        self.post = module.Post()
        self.failed: list[str] = []


def clerk(day: Day) -> None:
    with day.workers:
        day.failed = list(day.post.send_all(dict(_ADDRESSES)))  # as it is now: a callback may come later


def wrong(day: Day) -> Finding | None:
    if sorted(day.post.sent) != ["Ann"]:
        return Finding("sent", {"sent": " + ".join(sorted(day.post.sent)) or "-"})
    if list(day.failed) != ["Bob"]:
        return Finding("failed", {"failed": " + ".join(map(str, day.failed)) or "-"})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Day,
        {"Clerk": clerk, "Worker-1": lambda day: day.workers.work(), "Worker-2": lambda day: day.workers.work()},
        wrong,
        "Post.send",
    ),
    explore,
    needs=("NoAddress", "Post", "Post.send", "Post.send_all"),
)
