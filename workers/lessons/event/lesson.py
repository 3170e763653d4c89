"""An event: all threads that wait for it go on when it is set. Here the threads are cars at a red light."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any

from workers.lessons.common.figures import Span, Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.common.processes import running


def cross(cars: int, red_s: float, poll_s: float | None) -> tuple[float, dict[str, list[Span]], int, int]:
    """Cars wait at a light: for the event, or by looking at a variable every ``poll_s``.

    Returns the time when it turned green, the lanes, the number of cars that went before, and the number of looks at a
    red light.
    """
    green = threading.Event()
    looks = [0] * cars
    lanes: dict[str, list[Span]] = {f"car {number:>2}": [] for number in range(1, cars + 1)}
    waiting = threading.Barrier(cars + 1)
    began = time.perf_counter()

    def drive(number: int, name: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            waiting.wait()
        came = time.perf_counter() - began
        if poll_s is None:
            green.wait()
        else:
            while not green.is_set():
                looks[number] += 1
                time.sleep(poll_s)
        gone = time.perf_counter() - began
        lanes[name] += [Span(came, gone, style="wait"), Span(gone, gone + red_s / 10, style="good")]

    threads = [threading.Thread(target=drive, args=(number, name), daemon=True) for number, name in enumerate(lanes)]
    with running(threads, waiting.abort, green.set):
        waiting.wait()
        time.sleep(red_s)
        turned = time.perf_counter() - began
    return turned, lanes, sum(drives.start_s < turned for _, drives in lanes.values()), sum(looks)


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    cars, red_s = settings["cars"], settings["red_ms"] / 1e3
    rows, measured, figures = [], {"cars": cars}, []
    kinds = {"event": None, "looking every 50 ms": 0.05, "looking every 1 ms": 0.001}
    early = 0
    for kind, poll_s in kinds.items():
        progress(f"red light, {kind}")
        turned, lanes, before, looks = cross(cars, red_s, poll_s)
        last_ms = (max(spans[0].end_s for spans in lanes.values()) - turned) * 1e3
        rows.append([kind, cars, before, looks, round(last_ms, 2)])
        measured |= keyed(kind, went_before_green=before, looks=looks, last_after_ms=last_ms)
        early += before
        if poll_s is None:
            figures.append(Timeline("Red, then green for all at once", lanes, {"wait": "waits", "good": "drives"}))
    return LessonResult(
        holds=early == 0 and measured["event_looks"] == 0,
        measured=measured,
        tables=[
            Table(
                "Waiting for green",
                ["how they wait", "cars", "went before green", "looks at a red light", "last one off after (ms)"],
                rows,
            )
        ],
        figures=figures,
    )
