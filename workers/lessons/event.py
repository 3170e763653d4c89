"""An event is a red light that turns green once, for all who wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from workers.lessons.form import Findings, Lesson, Parameter, Progress, Span, Table, Timeline


def cross(cars: int, red_s: float, poll_s: float | None) -> tuple[float, dict[str, list[Span]], int, int]:
    """Cars wait at a light: for the event, or looking at a variable every ``poll_s``.

    Returns when it turned green, the lanes, how many had gone before, and how often a red light was looked at.
    """
    green = threading.Event()
    looks = [0] * cars
    lanes: dict[str, list[Span]] = {f"car {number:>2}": [] for number in range(1, cars + 1)}
    waiting = threading.Barrier(cars + 1)
    began = time.perf_counter()
    went: list[float] = []

    def drive(number: int, name: str) -> None:
        try:
            waiting.wait()
        except threading.BrokenBarrierError:
            return
        came = time.perf_counter() - began
        if poll_s is None:
            green.wait()
        else:
            while not green.is_set():
                looks[number] += 1
                time.sleep(poll_s)
        gone = time.perf_counter() - began
        went.append(gone)
        lanes[name] += [Span(came, gone, mood="wait"), Span(gone, gone + red_s / 10, mood="good")]

    threads = [threading.Thread(target=drive, args=(number, name), daemon=True) for number, name in enumerate(lanes)]
    try:
        for thread in threads:
            thread.start()
        waiting.wait()
        time.sleep(red_s)
    except BaseException:
        waiting.abort()
        raise
    finally:
        # Also when the lesson is interrupted: nobody is left waiting.
        turned = time.perf_counter() - began
        green.set()
    for thread in threads:
        thread.join()
    return turned, lanes, sum(gone < turned for gone in went), sum(looks)


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    cars, red_s = settings["cars"], settings["red_ms"] / 1e3
    rows, measured, figures = [], {"cars": cars}, []
    kinds = {"event": None, "looking every 50 ms": 0.05, "looking every 1 ms": 0.001}
    early = 0
    for kind, poll_s in kinds.items():
        progress(f"red light, {kind}")
        turned, lanes, before, looks = cross(cars, red_s, poll_s)
        last_ms = (max(spans[0].end_s for spans in lanes.values()) - turned) * 1e3
        rows.append([kind, cars, before, looks, round(last_ms, 2)])
        key = kind.replace(" ", "_")
        measured |= {f"{key}_went_before_green": before, f"{key}_looks": looks, f"{key}_last_after_ms": last_ms}
        early += before
        if poll_s is None:
            figures.append(Timeline("Red, then green for all at once", lanes, {"wait": "waits", "good": "drives"}))
    return Findings(
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
        see=[
            f"{cars} cars waited for the event, none went before it was set, and the last was off "
            f"{rows[0][4]} ms after it.",
            f"Looking again and again cost {rows[2][3]} looks every millisecond and {rows[1][3]} every 50 ms; "
            "waiting for the event cost none.",
        ],
    )


LESSON = Lesson(
    name="event",
    title="An event: red, then green for everybody",
    claim="All who wait for an event go when it is set, and nobody before.",
    wrong="Each looks at a variable again and again: often is work for nothing, seldom is late.",
    right="Each waits for the event; setting it once wakes all of them.",
    service="The doors: before opens_at a purchase is refused with the seconds to wait; at it everybody comes at once.",
    parameters=(
        Parameter("cars", 20, "cars, a thread each", 1, 200),
        Parameter("red_ms", 300, "how long the light is red, in milliseconds", 10, 5000),
    ),
    run=run,
    chinese={
        "Waiting for green": "等待绿灯",
        "how they wait": "怎样等待",
        "cars": "汽车数",
        "went before green": "绿灯前就走的",
        "looks at a red light": "看红灯的次数",
        "last one off after (ms)": "最后一辆在绿灯后几毫秒开走",
        "event": "事件",
        "looking every 50 ms": "每 50 毫秒看一次",
        "looking every 1 ms": "每 1 毫秒看一次",
        "Red, then green for all at once": "先红灯,然后所有人同时绿灯",
        "car": "汽车",
        "waits": "等待",
        "drives": "开走",
    },
)
