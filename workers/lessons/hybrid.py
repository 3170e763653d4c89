"""Processes, threads and coroutines put together: what each adds, and what all three add to two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workers.lessons.children import in_child
from workers.lessons.computing import amount_for, compute, gil_enabled, usable_cores
from workers.lessons.form import Findings, Lesson, Parameter, Plot, Progress, Span, Table, Timeline, Value

MIXES = {"mostly waiting": 0.95, "half and half": 0.5, "mostly computing": 0.05}
ROUNDS = 2
THREADS_OF_THREE = 2
IN_TURN, PROCESSES, THREADS, GREENLETS = "one after another", "processes", "threads", "greenlets"
PAIRS = ("processes × threads", "processes × greenlets")
ALL_THREE = "all three"


class Runs:
    """All runs by (shape, mix): of several tries the shortest counts."""

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]]) -> None:
        self.shapes = shapes
        self.tries: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def best(self, shape: str, mix: str) -> dict[str, Any]:
        return min(self.tries[shape][mix], key=lambda each: float(each["took_s"]))

    def took_s(self, shape: str, mix: str) -> float:
        return float(self.best(shape, mix)["took_s"])

    def at_once(self, shape: str, what: str) -> int:
        """The most that ever were "waiting", or certainly "computing", at the same moment."""
        return max(int(each[f"{what}_at_once"]) for tries in self.tries[shape].values() for each in tries)

    def busy(self, shape: str) -> float:
        """How many cores were busy on average where there was most to compute."""
        tries = self.tries[shape]["mostly computing"]
        return max(float(each["cpu_s"] / (each["starting_s"] + each["took_s"])) for each in tries)

    def fastest(self, mix: str) -> str:
        return min(self.shapes, key=lambda shape: self.took_s(shape, mix))


def shapes_of(processes: int, jobs: int) -> dict[str, tuple[int, int, int]]:
    """Processes, threads of each, greenlets of each thread: so that all but two shapes have a place for every job."""
    share = math.ceil(jobs / processes)
    return {
        IN_TURN: (1, 1, 1),
        PROCESSES: (processes, 1, 1),
        THREADS: (1, jobs, 1),
        GREENLETS: (1, 1, jobs),
        PAIRS[0]: (processes, share, 1),
        PAIRS[1]: (processes, 1, share),
        ALL_THREE: (processes, THREADS_OF_THREE, math.ceil(share / THREADS_OF_THREE)),
    }


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    jobs, work_ms, processes = settings["jobs"], settings["work_ms"], settings["processes"]
    progress(f"how much computing lasts {work_ms} ms")
    steps = amount_for(compute, work_ms)
    works = {
        mix: {"jobs": jobs, "rounds": ROUNDS, "wait_ms": share * work_ms, "steps": round((1 - share) * steps)}
        for mix, share in MIXES.items()
    }
    runs = Runs(shapes_of(processes, jobs))
    for name, shape in runs.shapes.items():
        progress(name)
        runs.tries[name] = in_child(
            "workers.lessons.hybrid_work:measure", shape, works, settings["tries"], settings["start_method"]
        )
    cores = usable_cores()
    floors = {
        mix: max(ROUNDS * work_ms, jobs * ROUNDS * (1 - share) * work_ms / min(cores, processes))
        for mix, share in MIXES.items()
    }
    return Findings(
        holds=_waits_overlap(runs, processes)
        and _cores_are_used(runs, processes, cores)
        and _three_are_not_better(runs),
        measured=_measured(runs, cores) | {"jobs": jobs, "start_method": settings["start_method"]},
        tables=_tables(runs, floors),
        figures=[_plot(runs), _timeline(runs, PROCESSES), _timeline(runs, PAIRS[1])],
        see=_see(runs, jobs, processes),
    )


def _waits_overlap(runs: Runs, processes: int) -> bool:
    """Alone, each process waits for one job at a time; with threads or greenlets in it, for many. By counting."""
    return (
        runs.at_once(IN_TURN, "waiting") == 1
        and runs.at_once(PROCESSES, "waiting") <= processes
        and all(runs.at_once(shape, "waiting") > processes for shape in (THREADS, GREENLETS, *PAIRS, ALL_THREE))
    )


def _cores_are_used(runs: Runs, processes: int, cores: int) -> bool:
    """One process computes one job at a time under the GIL, whatever is in it; several compute several. By counting."""
    if not gil_enabled():
        return True
    several = [runs.at_once(shape, "computing") for shape in (PROCESSES, *PAIRS, ALL_THREE)]
    return (
        all(runs.at_once(shape, "computing") == 1 for shape in (IN_TURN, THREADS, GREENLETS))
        and max(several) <= processes
        and (cores == 1 or max(several) > 1)
    )


def _three_are_not_better(runs: Runs) -> bool:
    """Not three times as fast as the better pair: generous, for a busy machine; what it has at once is counted."""
    return all(3 * runs.took_s(ALL_THREE, mix) > min(runs.took_s(pair, mix) for pair in PAIRS) for mix in MIXES)


def _measured(runs: Runs, cores: int) -> dict[str, Any]:
    measured: dict[str, Any] = {"cores": cores}
    for shape in runs.shapes:
        key = shape.replace(" × ", "_x_").replace(" ", "_")
        measured |= {f"{key}_{mix.replace(' ', '_')}_ms": round(runs.took_s(shape, mix) * 1e3, 2) for mix in MIXES}
        measured |= {f"{key}_{what}_at_once": runs.at_once(shape, what) for what in ("waiting", "computing")}
        measured[f"{key}_cores_busy"] = round(runs.busy(shape), 2)
    return measured | {f"fastest_{mix.replace(' ', '_')}": runs.fastest(mix) for mix in MIXES}


def _tables(runs: Runs, floors: Mapping[str, float]) -> list[Table]:
    def ms(shape: str, mix: str) -> float:
        return round(runs.took_s(shape, mix) * 1e3, 1)

    times: list[list[Value]] = [[shape, *(ms(shape, mix) for mix in MIXES)] for shape in runs.shapes]
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
                for shape, counts in runs.shapes.items()
            ],
        ),
        Table(
            "Where each wins",
            ["work", "fastest here", "its time (ms)", "all three (ms)"],
            [[mix, runs.fastest(mix), ms(runs.fastest(mix), mix), ms(ALL_THREE, mix)] for mix in MIXES],
        ),
    ]


def _plot(runs: Runs) -> Plot:
    return Plot(
        "The same jobs, spread in seven ways",
        "shape",
        "milliseconds; less is better",
        {mix: [(shape, runs.took_s(shape, mix) * 1e3) for shape in runs.shapes] for mix in MIXES},
    )


def _timeline(runs: Runs, shape: str) -> Timeline:
    lanes: dict[str, list[Span]] = {}
    for number, what, start, end in runs.best(shape, "half and half")["done"]:
        mood = "wait" if what == "wait" else "good"
        lanes.setdefault(f"job {number + 1}", []).append(Span(start, end, mood=mood))
    return Timeline(f"Half waiting, half computing: {shape}", lanes, {"wait": "waits", "good": "computes"})


def _see(runs: Runs, jobs: int, processes: int) -> list[str]:
    def ms(shape: str, mix: str) -> str:
        return f"{runs.took_s(shape, mix) * 1e3:.0f} ms"

    pairs = [min(PAIRS, key=lambda pair: runs.took_s(pair, mix)) for mix in MIXES]
    return [
        f"Mostly waiting: {processes} processes alone wait for {runs.at_once(PROCESSES, 'waiting')} jobs at once and "
        f"need {ms(PROCESSES, 'mostly waiting')}; {jobs} threads of one process wait for "
        f"{runs.at_once(THREADS, 'waiting')} and need {ms(THREADS, 'mostly waiting')}, {jobs} greenlets "
        f"{ms(GREENLETS, 'mostly waiting')}.",
        f"Mostly computing: in one process {runs.at_once(THREADS, 'computing')} thread computes at a time, and they "
        f"need {ms(THREADS, 'mostly computing')}, greenlets {ms(GREENLETS, 'mostly computing')}; {processes} processes "
        f"need {ms(PROCESSES, 'mostly computing')}.",
        f"Half and half: threads {ms(THREADS, 'half and half')}, processes {ms(PROCESSES, 'half and half')}, processes "
        f"with threads {ms(PAIRS[0], 'half and half')}, with greenlets {ms(PAIRS[1], 'half and half')}: a pair has the "
        "waits of the one and the cores of the other.",
        f"All three together: {', '.join(f'{ms(ALL_THREE, mix)} ({mix})' for mix in MIXES)}; the better pair: "
        f"{', '.join(f'{ms(pair, mix)} ({mix})' for pair, mix in zip(pairs, MIXES, strict=True))}. Threads and "
        "greenlets buy the same thing, so the third layer has nothing left to buy.",
    ]


LESSON = Lesson(
    name="hybrid",
    title="Processes, threads and coroutines together",
    claim="Processes multiply computing, threads or coroutines overlap waiting, and a pair of them does both; all "
    "three together are no better than the pair.",
    wrong="Stack one layer on another because more is faster; or take the one layer that the work does not need.",
    right="Processes for as many cores as there are, and in each either threads or coroutines for the waiting.",
    service="The worker models in workers/__init__.py are these shapes: sync is processes alone, gthread processes × "
    "threads, gevent processes × greenlets. gunicorn offers no worker of all three, and misses nothing.",
    parameters=(
        Parameter("processes", 2, "processes, where a shape has several", 2, 4),
        Parameter("jobs", 12, f"jobs, of {ROUNDS} rounds each", 12, 100),
        Parameter("work_ms", 10, "how long a round lasts alone, in milliseconds", 4, 200),
        Parameter("tries", 2, "times that each shape is tried; the shortest counts", 1, 10),
        Parameter("start_method", "fork", "how processes are started", choices=("fork", "spawn")),
    ),
    limit_s=120,
    run=run,
    chinese={
        "shape": "组合",
        "mostly waiting": "多为等待",
        "half and half": "各占一半",
        "mostly computing": "多为计算",
        IN_TURN: "一个接一个",
        PROCESSES: "进程",
        THREADS: "线程",
        GREENLETS: "协程",
        PAIRS[0]: "进程 × 线程",
        PAIRS[1]: "进程 × 协程",
        ALL_THREE: "三者一起",
        "Time for the same jobs (ms)": "完成同样工作的时间(毫秒)",
        "nothing can be faster": "不可能更快的下限",
        "What each shape has at once": "每种组合同时有什么",
        "threads of each": "每进程的线程",
        "greenlets of each": "每线程的协程",
        "waiting at once": "同时在等待",
        "computing at once": "同时在计算",
        "Where each wins": "各在哪里取胜",
        "work": "工作",
        "fastest here": "这里最快",
        "its time (ms)": "它的时间(毫秒)",
        "all three (ms)": "三者一起(毫秒)",
        "The same jobs, spread in seven ways": "同样的工作,七种分法",
        "milliseconds; less is better": "毫秒,越少越好",
        f"Half waiting, half computing: {PROCESSES}": "一半等待,一半计算:进程",
        f"Half waiting, half computing: {PAIRS[1]}": "一半等待,一半计算:进程 × 协程",
        "job": "工作",
        "waits": "等待",
        "computes": "计算",
    },
)
