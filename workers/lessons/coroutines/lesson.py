"""Coroutines: one thread, switched by the program itself wherever it would wait, and nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.common.lesson import LessonResult, Progress
from workers.lessons.common.processes import call_in_child
from workers.lessons.coroutines import by_hand
from workers.lessons.coroutines.report import LONG, SHORT, CoroutineMeasurements, figures, tables

LAST = 4
_PATCHED = "workers.lessons.coroutines.under_gevent"
OVERLAPS = {
    "one after another": False,
    "generators by hand": True,
    "asyncio": True,
    "greenlets, patched": True,
    "greenlets, not patched": False,
}
# Do other greenlets go on while one does this under gevent's patch? For sleep(0) nothing is promised.
GOES_ON = {
    "sleeps": True,
    "waits for a socket": True,
    "waits for a threading.Lock": True,
    "sleeps by a sleep kept from before the patch": False,
    "computes": False,
    "computes, with a short sleep between": True,
    "waits for a flock": False,
    "tries a flock and sleeps between": True,
    "waits for a flock in a real thread": True,
}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    greenlets, switches = settings["greenlets"], settings["switches"]
    waits = {"short": SHORT * settings["unit_ms"] / 1e3, "long": LONG * settings["unit_ms"] / 1e3}
    progress("two waits, five ways")
    ways = {
        "one after another": by_hand.noted(by_hand.two_waits_in_turn, waits),
        "generators by hand": by_hand.noted(by_hand.two_waits_by_hand, waits),
        "asyncio": by_hand.noted(by_hand.two_waits_by_asyncio, waits),
        "greenlets, patched": call_in_child(f"{_PATCHED}:two_waits", waits, gevent=True),
        "greenlets, not patched": call_in_child(f"{_PATCHED}:two_waits", waits),
    }
    steps: list[tuple[str, int, int]] = []
    by_hand.switch_between(
        {name: by_hand.add_up(name, LAST, lambda *step: steps.append(step)) for name in ("one", "other")}
    )
    # The folder is made here and not in the children: a child that is killed removes nothing.
    with tempfile.TemporaryDirectory() as folder:
        lock = str(Path(folder) / "lock")
        progress("who goes on while a greenlet waits or computes")
        hearts = call_in_child(f"{_PATCHED}:heartbeats", lock, settings["lasts_ms"] / 1e3, gevent=True)
        progress("locks and greenlets")
        hangs = call_in_child(f"{_PATCHED}:hangs_for_good", lock, 0.5, gevent=True)
        inside = {
            when: call_in_child(f"{_PATCHED}:most_inside", lock, greenlets, when == "before")
            for when in ("before", "after")
        }
    found = CoroutineMeasurements(
        settings,
        ways=ways,
        steps=steps,
        hearts=hearts,
        hangs=hangs,
        inside=inside,
        left=call_in_child(f"{_PATCHED}:count_down", greenlets, gevent=True),
        switching={
            "generators": by_hand.hand_over_by_generators(switches),
            "greenlets": call_in_child(f"{_PATCHED}:hand_over", switches, gevent=True),
            "threads": by_hand.hand_over_by_threads(switches),
        },
    )
    return LessonResult(
        holds=_waits_overlap(found) and _turns_are_given(found) and _locks_as_claimed(found),
        measured=found.measured(),
        tables=tables(found),
        figures=figures(found),
    )


def _waits_overlap(found: CoroutineMeasurements) -> bool:
    return all(
        found.overlaps(way) == expected and found.ways[way]["threads"] == 1 for way, expected in OVERLAPS.items()
    )


def _turns_are_given(found: CoroutineMeasurements) -> bool:
    """Generators take turns, each with the right sum; greenlets take turns wherever the patch can see a wait."""
    turns = [(name, number, number * (number + 1) // 2) for number in range(1, LAST + 1) for name in ("one", "other")]
    return found.steps == turns and all((found.beats(doing) > 0) == expected for doing, expected in GOES_ON.items())


def _locks_as_claimed(found: CoroutineMeasurements) -> bool:
    left = found.left
    return (
        found.hangs
        and found.inside["before"] > 1 == found.inside["after"]
        and left["at once"] == left["waits between, with a lock"] == 0 < left["waits between"]
    )
