"""Threads: how they begin and are waited for, what they share, and what a process of its own does not."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from workers.lessons.common.figures import Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.threads.sharing import BY_THE_FILE, Takers, by_processes, by_threads
from workers.lessons.threads.starting import WAYS, RanIn, fail_in_future, fail_in_thread, go_on

THREADS, FORKED, SPAWNED = "threads", "processes, forked", "processes, spawned"
LEGEND = {"faint": "starts them", "plain": "works", "wait": "waits in join"}
LEGEND |= {"good": "goes on, all done", "bad": "goes on, too early"}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    count, processes, left = settings["threads"], settings["processes"], settings["tickets"]
    before = threading.active_count()
    progress("three ways to begin")
    places = {way: begin() for way, begin in WAYS.items()}
    progress("without and with join")
    found_without, lanes_without = go_on(count, settings["work_ms"] / 1e3, join=False)
    found_with, lanes_with = go_on(count, settings["work_ms"] / 1e3, join=True)
    progress("an exception in a thread")
    joined, future = fail_in_thread(), fail_in_future()
    progress("one number, many takers")
    shared, alive = by_threads(count, left)
    takers = {THREADS: shared}
    for way, method in ((FORKED, "fork"), (SPAWNED, "spawn")):
        progress(f"one number, {way}")
        takers[way] = by_processes(method, processes, left)
    after = threading.active_count()
    caller = threading.get_ident()
    return LessonResult(
        holds=_ways_hold(places, caller)
        and found_without < found_with == count
        and (joined, future) == ((False, True), (True, False))
        and _data_hold(takers, left)
        and alive == before + count
        and after == before,
        measured={
            "threads": count,
            "found_without_join": found_without,
            "found_with_join": found_with,
            "run_by_mistake_in_own_thread": places["a class, run() by mistake"].thread != caller,
            "join_raised": joined[0],
            "future_raised": future[0],
            **{f"main_has_after_{who.split()[-1]}": each.main_has for who, each in takers.items()},
            **keyed("alive", before=before, meanwhile=alive, after=after),
        },
        tables=[
            Table(
                "Three ways to begin, one of them none",
                ["way", "a thread of its own", "name inside", "caller went on meanwhile"],
                [[way, each.thread != caller, each.name, each.caller_went_on] for way, each in places.items()],
            ),
            Table(
                "What the main thread finds when it goes on",
                ["after starting", "done when it looked", "of"],
                [["no join", found_without, count], ["join", found_with, count]],
            ),
            Table(
                "One number: each takes one",
                ["who takes", "how many", "process ids", "thread ids", "each found", "the main thread has"],
                [
                    [who, len(each.taken), each.processes, each.threads, _range(each.found), each.main_has]
                    for who, each in takers.items()
                ],
            ),
            Table(
                "An exception in a thread",
                ["who asks", "learned of it", "printed by the thread"],
                [["join()", *joined], ["future.result()", *future]],
            ),
            Table(
                "How many threads this process has",
                ["when", "alive"],
                [["before", before], ["meanwhile", alive], ["after", after]],
            ),
        ],
        figures=[
            Timeline("Without join: the main thread goes on at once", lanes_without, LEGEND),
            Timeline("With join: the main thread waits for all", lanes_with, LEGEND),
        ],
        facts={
            "name_inside_run": places["a class, run() by mistake"].name,
            "spawned_found": _range(takers[SPAWNED].found),
        },
    )


def _ways_hold(places: Mapping[str, RanIn], caller: int) -> bool:
    *right, mistake = places.values()
    return (
        all(each.thread != caller and each.caller_went_on for each in right)
        and mistake.thread == caller
        and not mistake.caller_went_on
        and len({each.process for each in places.values()}) == 1
    )


def _data_hold(takers: Mapping[str, Takers], left: int) -> bool:
    shared, forked, spawned = takers[THREADS], takers[FORKED], takers[SPAWNED]
    count = len(shared.taken)
    return (
        shared.main_has == left - count
        and shared.found == list(range(left, left - count, -1))
        and (shared.processes, shared.threads) == (1, count)
        and forked.main_has == spawned.main_has == left
        and (forked.found, spawned.found) == ([left], [BY_THE_FILE])
        and all(each.processes == len(each.taken) for each in (forked, spawned))
    )


def _range(found: Sequence[int]) -> str:
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} … {found[-1]}"
