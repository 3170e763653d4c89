"""Processes, threads and coroutines put together: what each adds, and what all three add to two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workers.lessons.common.computing import amount_for, compute, gil_enabled, usable_cores
from workers.lessons.common.execution import Runs, Shape, Work
from workers.lessons.common.figures import BarChart, Span, Table, Timeline, Value
from workers.lessons.common.lesson import LessonResult, Progress, key, keyed
from workers.lessons.common.processes import call_in_child

MIXES = {"mostly waiting": 0.95, "half and half": 0.5, "mostly computing": 0.05}
ROUNDS = 2
THREADS_OF_THREE = 2
IN_TURN, PROCESSES, THREADS, GREENLETS = "one after another", "processes", "threads", "greenlets"
PAIRS = ("processes × threads", "processes × greenlets")
ALL_THREE = "all three"


class ShapeRuns(dict[str, dict[str, Runs]]):
    """The runs of each shape and mix."""

    def took_s(self, shape: str, mix: str) -> float:
        return self[shape][mix].shortest("took_s")

    def at_once(self, shape: str, what: str) -> int:
        """The largest number of jobs that were "waiting", or certainly "computing", at the same moment."""
        return max(runs.most(f"{what}_at_once") for runs in self[shape].values())

    def fastest(self, mix: str) -> str:
        return min(self, key=lambda shape: self.took_s(shape, mix))


def shapes_of(processes: int, jobs: int) -> dict[str, Shape]:
    """Shapes that have a place for every job, all but the first two."""
    share = math.ceil(jobs / processes)
    return {
        IN_TURN: Shape(),
        PROCESSES: Shape(processes),
        THREADS: Shape(threads=jobs),
        GREENLETS: Shape(greenlets=jobs),
        PAIRS[0]: Shape(processes, threads=share),
        PAIRS[1]: Shape(processes, greenlets=share),
        ALL_THREE: Shape(processes, THREADS_OF_THREE, math.ceil(share / THREADS_OF_THREE)),
    }


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    jobs, work_ms, processes = settings["jobs"], settings["work_ms"], settings["processes"]
    progress(f"how much computing lasts {work_ms} ms")
    steps = amount_for(compute, work_ms)
    works = {mix: Work(jobs, ROUNDS, share * work_ms, round((1 - share) * steps)) for mix, share in MIXES.items()}
    shapes, runs = shapes_of(processes, jobs), ShapeRuns()
    for name, shape in shapes.items():
        progress(name)
        found = call_in_child(
            "workers.lessons.common.execution:measure", shape, works, settings["tries"], settings["start_method"]
        )
        runs[name] = {mix: Runs(tries) for mix, tries in found.items()}
    cores = usable_cores()
    floors = {
        mix: max(ROUNDS * work_ms, jobs * ROUNDS * (1 - share) * work_ms / min(cores, processes))
        for mix, share in MIXES.items()
    }
    times = BarChart(
        "The same jobs, spread in seven ways",
        "milliseconds; less is better",
        {mix: [(shape, runs.took_s(shape, mix) * 1e3) for shape in runs] for mix in MIXES},
    )
    return LessonResult(
        holds=_waits_overlap(runs, processes)
        and _cores_are_used(runs, processes, cores)
        and _three_are_not_better(runs),
        measured=_measured(runs, cores) | {"jobs": jobs, "start_method": settings["start_method"]},
        tables=_tables(runs, shapes, floors),
        figures=[times, _timeline(runs, PROCESSES), _timeline(runs, PAIRS[1])],
        facts={"better_pair_ms": {mix: min(runs.took_s(pair, mix) for pair in PAIRS) * 1e3 for mix in MIXES}},
    )


def _waits_overlap(runs: ShapeRuns, processes: int) -> bool:
    """A process alone waits for one job at a time, with threads or greenlets in it for many: counted, not timed."""
    return (
        runs.at_once(IN_TURN, "waiting") == 1
        and runs.at_once(PROCESSES, "waiting") <= processes
        and all(runs.at_once(shape, "waiting") > processes for shape in (THREADS, GREENLETS, *PAIRS, ALL_THREE))
    )


def _cores_are_used(runs: ShapeRuns, processes: int, cores: int) -> bool:
    """Under the GIL a process computes one job at a time, several processes several: counted, not timed."""
    if not gil_enabled():
        return True
    several = [runs.at_once(shape, "computing") for shape in (PROCESSES, *PAIRS, ALL_THREE)]
    return (
        all(runs.at_once(shape, "computing") == 1 for shape in (IN_TURN, THREADS, GREENLETS))
        and max(several) <= processes
        and (cores == 1 or max(several) > 1)
    )


def _three_are_not_better(runs: ShapeRuns) -> bool:
    """All three are not three times as fast as the better pair: a wide margin, for a busy machine."""
    return all(3 * runs.took_s(ALL_THREE, mix) > min(runs.took_s(pair, mix) for pair in PAIRS) for mix in MIXES)


def _measured(runs: ShapeRuns, cores: int) -> dict[str, Any]:
    measured: dict[str, Any] = {"cores": cores}
    for shape, mixes in runs.items():
        measured |= {f"{key(shape, mix)}_ms": round(runs.took_s(shape, mix) * 1e3, 2) for mix in MIXES}
        measured |= {f"{key(shape)}_{what}_at_once": runs.at_once(shape, what) for what in ("waiting", "computing")}
        measured |= keyed(shape, cores_busy=round(mixes["mostly computing"].cores_busy, 2))
    return measured | {f"fastest_{key(mix)}": runs.fastest(mix) for mix in MIXES}


def _tables(runs: ShapeRuns, shapes: Mapping[str, Shape], floors: Mapping[str, float]) -> list[Table]:
    def ms(shape: str, mix: str) -> float:
        return round(runs.took_s(shape, mix) * 1e3, 1)

    times: list[list[Value]] = [[shape, *(ms(shape, mix) for mix in MIXES)] for shape in runs]
    return [
        Table(
            "Time for the same jobs (ms)",
            ["shape", *MIXES],
            [*times, ["nothing can be faster", *(round(floor, 1) for floor in floors.values())]],
        ),
        Table(
            "What each shape has at once",
            ["shape", "processes", "threads of each", "greenlets of each", "waiting at once", "computing at once"],
            [
                [shape, *counts, runs.at_once(shape, "waiting"), runs.at_once(shape, "computing")]
                for shape, counts in shapes.items()
            ],
        ),
        Table(
            "Where each wins",
            ["work", "fastest here", "its time (ms)", "all three (ms)"],
            [[mix, runs.fastest(mix), ms(runs.fastest(mix), mix), ms(ALL_THREE, mix)] for mix in MIXES],
        ),
    ]


def _timeline(runs: ShapeRuns, shape: str) -> Timeline:
    lanes: dict[str, list[Span]] = {}
    shortest = min(runs[shape]["half and half"], key=lambda run: float(run["took_s"]))
    for number, what, start, end in shortest["done"]:
        style = "wait" if what == "wait" else "good"
        lanes.setdefault(f"job {number + 1}", []).append(Span(start, end, style=style))
    return Timeline(f"Half waiting, half computing: {shape}", lanes, {"wait": "waits", "good": "computes"})
