"""Computing and waiting, on one core and on all cores, by processes, threads and greenlets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from workers.lessons.common.computing import amount_for, compute, digest, gil_enabled, usable_cores
from workers.lessons.common.execution import Runs, Shape, Work
from workers.lessons.common.figures import BarChart, Table, Value
from workers.lessons.common.lesson import LessonResult, Progress, key, keyed
from workers.lessons.common.processes import call_in_child

MODELS = ("one after another", "processes", "threads", "greenlets")
COUNTED = {"computing": "computing_at_once", "waiting": "waiting_at_once"}
WHERE: dict[str, int | None] = {"one core": 1, "all cores": None}


class Cases(dict[tuple[str, str, str], Runs]):
    """The runs of each case: (work, where, model)."""

    def places(self, *works: str) -> list[tuple[str, str]]:
        """Each kind of work (all, or those named), on one core and on all."""
        places = dict.fromkeys((work, where) for work, where, _ in self)
        return [(work, where) for work, where in places if work in works or not works]

    @property
    def widest(self) -> str:
        """All cores, or the only one."""
        return [where for _, where, _ in self][-1]

    def at_once(self, work: str, where: str, model: str) -> int:
        return self[work, where, model].most(COUNTED[work])

    def speed_up(self, work: str, where: str, model: str) -> float:
        return self[work, where, MODELS[0]].shortest("whole_s") / self[work, where, model].shortest("whole_s")

    def times(self, work: str) -> dict[str, float]:
        """How many times as fast as one after another, by model, on all cores."""
        return {model: self.speed_up(work, self.widest, model) for model in MODELS}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    tasks, work_ms, method = settings["tasks"], settings["work_ms"], settings["start_method"]
    progress(f"how much work lasts {work_ms} ms")
    works = {
        "computing": Work(tasks, steps=amount_for(compute, work_ms)),
        "computing in C": Work(tasks, blocks=amount_for(digest, work_ms)),
        "waiting": Work(tasks, wait_ms=work_ms),
    }
    shapes = (Shape(), Shape(processes=tasks), Shape(threads=tasks), Shape(greenlets=tasks))
    cores = usable_cores()
    cases = Cases()
    for where, limit in _places(cores).items():
        for model, shape in zip(MODELS, shapes, strict=True):
            progress(f"{where}, {model}")
            found = call_in_child(
                "workers.lessons.common.execution:measure", shape, works, settings["tries"], method, limit
            )
            for work, runs in found.items():
                cases[work, where, model] = Runs(runs)
    clock = {}
    for kind in ("threads", "processes"):
        progress(f"stopping the clock too early, {kind}")
        clock[kind] = call_in_child("workers.lessons.cpu_io.clock:stop_the_clock", kind, tasks, 8 * work_ms, method)
    return LessonResult(
        holds=_waiting_overlaps(cases) and _computing_does_not(cases, cores) and _stopped_early(clock),
        measured=_measured(cases, cores, clock) | {"tasks": tasks, "work_ms": work_ms, "start_method": method},
        tables=_tables(cases, clock, tasks),
        figures=[_speed_ups(cases)],
        facts={
            "at_once": {model: cases.at_once("computing", cases.widest, model) for model in MODELS},
            "waiting_times": cases.times("waiting"),
            "computing_times": cases.times("computing"),
            "computing_in_c_times": cases.times("computing in C"),
        },
    )


def _places(cores: int) -> dict[str, int | None]:
    """One core is tried only if there are several and the system can keep a process on one."""
    if cores == 1:
        return {"one core": None}
    return WHERE if hasattr(os, "sched_setaffinity") else {"all cores": None}


def _waiting_overlaps(cases: Cases) -> bool:
    """True if several waited at the same moment in all models but the first. This is counted, not timed."""
    return all(
        (cases.at_once("waiting", where, model) > 1) == (model != MODELS[0])
        for _, where in cases.places("waiting")
        for model in MODELS
    )


def _computing_does_not(cases: Cases, cores: int) -> bool:
    """One job computes at a time on one core, and in one process; several processes compute at once."""
    at_once = {
        (where, model): cases.at_once("computing", where, model)
        for _, where in cases.places("computing")
        for model in MODELS
    }
    one_at_a_time = all(
        most == 1
        for (where, model), most in at_once.items()
        if where == "one core" or (model != "processes" and (gil_enabled() or model != "threads"))
    )
    return one_at_a_time and (cores == 1 or at_once[cases.widest, "processes"] > 1)


def _stopped_early(clock: Mapping[str, Any]) -> bool:
    return all(early[1] < joined[1] and early[0] < joined[0] for early, joined in clock.values())


def _measured(cases: Cases, cores: int, clock: Mapping[str, Any]) -> dict[str, Any]:
    measured: dict[str, Any] = {"cores": cores, "gil": gil_enabled()}
    for (work, where, model), runs in cases.items():
        name = key(work, where, model)
        measured |= keyed(
            name,
            ms=round(runs.shortest("whole_s") * 1e3, 2),
            cores_busy=round(runs.cores_busy, 2),
            speed_up=round(cases.speed_up(work, where, model), 2),
        )
        if work in COUNTED:
            measured[f"{name}_at_once"] = cases.at_once(work, where, model)
    for kind, stops in clock.items():
        for how, (seconds, finished) in zip(("not_joined", "joined"), stops, strict=True):
            measured |= keyed(f"{how}_{kind}", ms=round(seconds * 1e3, 2), finished=int(finished))
    return measured


def _tables(cases: Cases, clock: Mapping[str, Any], tasks: int) -> list[Table]:
    times: list[list[Value]] = []
    busy: list[list[Value]] = []
    for work, where in cases.places():
        runs = [cases[work, where, model] for model in MODELS]
        starting_ms = round(cases[work, where, "processes"].shortest("starting_s") * 1e3, 1)
        times.append([f"{work}, {where}", *(round(each.shortest("whole_s") * 1e3, 1) for each in runs), starting_ms])
        busy.append([f"{work}, {where}", *(round(each.cores_busy, 2) for each in runs)])
    at_once: list[list[Value]] = [
        [f"{work}, {where}", *(cases.at_once(work, where, model) for model in MODELS)]
        for work, where in cases.places(*COUNTED)
    ]
    stopped = [
        [f"{kind}, {how}", seconds * 1e3, int(finished), tasks]
        for kind, stops in clock.items()
        for how, (seconds, finished) in zip(("not joined", "joined"), stops, strict=True)
    ]
    return [
        Table("Time for the same tasks (ms)", ["work", *MODELS, "starting the processes alone"], times),
        Table("How many did it at the same moment", ["work", *MODELS], at_once),
        Table("Cores kept busy", ["work", *MODELS], busy),
        Table("Where the clock is stopped", ["waiting by", "time measured (ms)", "finished by then", "of"], stopped),
    ]


def _speed_ups(cases: Cases) -> BarChart:
    return BarChart(
        "Speed-up over one after another",
        "how many times as fast as one after another on the same cores",
        {
            model: [(f"{work}, {where}", cases.speed_up(work, where, model)) for work, where in cases.places()]
            for model in MODELS[1:]
        },
    )
