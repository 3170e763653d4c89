"""A semaphore limits how many are inside at once; a bounded one also notices a release without an acquire."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from workers.lessons.common.computing import most_at_once
from workers.lessons.common.figures import Span, Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress
from workers.lessons.common.processes import start_and_join


def visit(visitors: int, stay_s: float, door: threading.Semaphore | None) -> tuple[int, dict[str, list[Span]]]:
    """All visitors come at once. Returns the largest number inside at a moment, and a lane for each visitor."""
    lanes: dict[str, list[Span]] = {f"visitor {number:>2}": [] for number in range(1, visitors + 1)}
    opened = time.perf_counter()

    def come(name: str) -> None:
        came = time.perf_counter() - opened
        if door is not None:
            door.acquire()
        try:
            entered = time.perf_counter() - opened
            time.sleep(stay_s)
            left = time.perf_counter() - opened
        finally:
            if door is not None:
                door.release()
        lanes[name] += [Span(came, entered, style="wait"), Span(entered, left, style="good")]

    start_and_join(threading.Thread(target=come, args=(name,), daemon=True) for name in lanes)
    return most_at_once((inside.start_s, inside.end_s) for _, inside in lanes.values()), lanes


def one_release_too_many(door: threading.Semaphore, places: int) -> tuple[str, int]:
    """Gives back a place that was never taken. Returns what happened, and how many the door lets in afterwards."""
    try:
        door.release()
        happened = "nothing was noticed"
    except ValueError:
        happened = "ValueError, at once"
    let_in = 0
    while let_in <= places and door.acquire(blocking=False):
        let_in += 1
    return happened, let_in


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    places, visitors, stay_s = settings["places"], settings["visitors"], settings["stay_ms"] / 1e3
    progress("all visitors at once, no door")
    most_without, _ = visit(visitors, stay_s, None)
    progress("a semaphore at the door")
    most_with, lanes = visit(visitors, stay_s, threading.Semaphore(places))
    progress("one release too many")
    plain, plain_lets_in = one_release_too_many(threading.Semaphore(places), places)
    bounded, bounded_lets_in = one_release_too_many(threading.BoundedSemaphore(places), places)
    return LessonResult(
        holds=most_with <= places and most_without > places and plain_lets_in > places >= bounded_lets_in,
        measured={
            "places": places,
            "visitors": visitors,
            "most_inside_without": most_without,
            "most_inside_with": most_with,
            "plain_lets_in_after_extra_release": plain_lets_in,
            "bounded_lets_in_after_extra_release": bounded_lets_in,
        },
        tables=[
            Table(
                "How many were inside at once",
                ["door", "places", "most inside"],
                [["none", places, most_without], ["semaphore", places, most_with]],
            ),
            Table(
                "One release too many",
                ["semaphore", "what happened", "lets in now"],
                [["plain", plain, plain_lets_in], ["bounded", bounded, bounded_lets_in]],
            ),
        ],
        figures=[Timeline("Waiting at the door, and inside", lanes, {"wait": "waits", "good": "is inside"})],
    )
