"""Are threads of use? Computing and waiting, on one core and on all, by processes, threads and greenlets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from workers.lessons.children import in_child
from workers.lessons.computing import amount_for, gil_enabled, usable_cores
from workers.lessons.cpu_io_cases import WORKS
from workers.lessons.form import Findings, Lesson, Parameter, Plot, Progress, Table, Value

MODELS = ("one after another", "processes", "threads", "greenlets")
COUNTED = ("computing", "waiting")
WHERE: dict[str, int | None] = {"one core": 1, "all cores": None}


class Cases:
    """All cases by (work, where, model); of several tries the shortest, which others on the machine disturbed least."""

    def __init__(self) -> None:
        self._tries: dict[tuple[str, str, str], list[Mapping[str, float]]] = {}
        self.widest = "one core"

    def add(self, where: str, model: str, found: Mapping[str, list[Mapping[str, float]]]) -> None:
        self.widest = where
        for work, tries in found.items():
            self._tries[work, where, model] = tries

    def places(self, *works: str) -> list[tuple[str, str]]:
        """Each kind of work, on one core and on all."""
        places = dict.fromkeys((work, where) for work, where, _ in self._tries)
        return [(work, where) for work, where in places if work in (works or WORKS)]

    def whole_s(self, work: str, where: str, model: str) -> float:
        return min(each["whole_s"] for each in self._tries[work, where, model])

    def starting_s(self, work: str, where: str, model: str) -> float:
        return min(each["starting_s"] for each in self._tries[work, where, model])

    def busy(self, work: str, where: str, model: str) -> float:
        """How many cores were busy on average: seconds of CPU used in a second."""
        return max(each["cpu_s"] / each["whole_s"] for each in self._tries[work, where, model])

    def at_once(self, work: str, where: str, model: str) -> int:
        """The most that certainly worked at the same moment in any of the tries."""
        return int(max(each["at_once"] for each in self._tries[work, where, model]))

    def speed_up(self, work: str, where: str, model: str) -> float:
        return self.whole_s(work, where, MODELS[0]) / self.whole_s(work, where, model)


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    tasks, work_ms, method = settings["tasks"], settings["work_ms"], settings["start_method"]
    progress(f"how much work lasts {work_ms} ms")
    amounts = {kind: work_ms if kind == "waiting" else amount_for(work, work_ms) for kind, work in WORKS.items()}
    cores = usable_cores()
    cases = Cases()
    for where, limit in _places(cores).items():
        for model in MODELS:
            progress(f"{where}, {model}")
            found = in_child(
                "workers.lessons.cpu_io_cases:measure",
                *(model, limit, amounts, dict(settings)),
                gevent=model == "greenlets",
            )
            cases.add(where, model, found)
    clock = {}
    for kind in ("threads", "processes"):
        progress(f"stopping the clock too early, {kind}")
        clock[kind] = in_child("workers.lessons.cpu_io_cases:stop_the_clock", kind, tasks, 8 * work_ms, method)
    return Findings(
        holds=_waiting_overlaps(cases) and _computing_does_not(cases, cores) and _stopped_early(clock),
        measured=_measured(cases, cores, clock) | {"tasks": tasks, "work_ms": work_ms, "start_method": method},
        tables=_tables(cases, clock, tasks),
        figures=[_plot(cases)],
        see=_see(cases, cores, clock, tasks),
    )


def _places(cores: int) -> dict[str, int | None]:
    """A single core is all there are; and where a process cannot be kept on one core, one core is not tried."""
    if cores == 1:
        return {"one core": None}
    return WHERE if hasattr(os, "sched_setaffinity") else {"all cores": None}


def _waiting_overlaps(cases: Cases) -> bool:
    """By counting, not by time: whether several waited at the same moment."""
    return all(
        (cases.at_once("waiting", where, model) > 1) == (model != MODELS[0])
        for _, where in cases.places("waiting")
        for model in MODELS
    )


def _computing_does_not(cases: Cases, cores: int) -> bool:
    """On one core, and among the threads or greenlets of one process, one computes at a time; processes do at once."""
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
    for work, where in cases.places():
        for model in MODELS:
            key = f"{work} {where} {model}".replace(" ", "_")
            measured[f"{key}_ms"] = round(cases.whole_s(work, where, model) * 1e3, 2)
            measured[f"{key}_cores_busy"] = round(cases.busy(work, where, model), 2)
            measured[f"{key}_speed_up"] = round(cases.speed_up(work, where, model), 2)
            if work in COUNTED:
                measured[f"{key}_at_once"] = cases.at_once(work, where, model)
    for kind, (early, joined) in clock.items():
        measured[f"not_joined_{kind}_ms"] = round(early[0] * 1e3, 2)
        measured[f"not_joined_{kind}_finished"] = int(early[1])
        measured[f"joined_{kind}_ms"] = round(joined[0] * 1e3, 2)
        measured[f"joined_{kind}_finished"] = int(joined[1])
    return measured


def _tables(cases: Cases, clock: Mapping[str, Any], tasks: int) -> list[Table]:
    times: list[list[Value]] = []
    busy: list[list[Value]] = []
    for work, where in cases.places():
        starting_ms = round(cases.starting_s(work, where, "processes") * 1e3, 1)
        times.append(
            [f"{work}, {where}", *(round(cases.whole_s(work, where, model) * 1e3, 1) for model in MODELS), starting_ms]
        )
        busy.append([f"{work}, {where}", *(round(cases.busy(work, where, model), 2) for model in MODELS)])
    at_once: list[list[Value]] = [
        [f"{work}, {where}", *(cases.at_once(work, where, model) for model in MODELS)]
        for work, where in cases.places(*COUNTED)
    ]
    stopped = [
        [f"{kind}, {how}", stop[0] * 1e3, int(stop[1]), tasks]
        for kind, stops in clock.items()
        for how, stop in zip(("not joined", "joined"), stops, strict=True)
    ]
    return [
        Table("Time for the same tasks (ms)", ["work", *MODELS, "of which starting processes"], times),
        Table("How many did it at the same moment", ["work", *MODELS], at_once),
        Table("Cores kept busy", ["work", *MODELS], busy),
        Table("Where the clock is stopped", ["waiting by", "time measured (ms)", "finished by then", "of"], stopped),
    ]


def _plot(cases: Cases) -> Plot:
    return Plot(
        "Speed-up over one after another",
        "work",
        "how many times as fast as one after another on the same cores",
        {
            model: [(f"{work}, {where}", cases.speed_up(work, where, model)) for work, where in cases.places()]
            for model in MODELS[1:]
        },
    )


def _see(cases: Cases, cores: int, clock: Mapping[str, Any], tasks: int) -> list[str]:
    def each(work: str, models: tuple[str, ...] = MODELS[1:]) -> str:
        return ", ".join(f"{model} {cases.speed_up(work, cases.widest, model):.1f} times" for model in models)

    def at_once(model: str) -> int:
        return cases.at_once("computing", cases.widest, model)

    threads, processes = clock["threads"], clock["processes"]
    return [
        f"Waiting, as fast as one after another: {each('waiting')}. No core is needed to wait.",
        f"Computing on {cores} {'core' if cores == 1 else 'cores'}: {each('computing')}. At the same moment "
        f"{at_once('processes')} processes computed, {at_once('threads')} thread, {at_once('greenlets')} greenlet.",
        f"Computing in C that gives the GIL back: {each('computing in C', ('processes', 'threads'))}. That threads "
        "cannot compute at once is true of Python's own bytecode only.",
        f"Without a join the clock said {threads[0][0] * 1e3:.1f} ms for threads and {processes[0][0] * 1e3:.1f} ms "
        f"for processes, with {int(threads[0][1])} and {int(processes[0][1])} of {tasks} finished: it timed the "
        f"starting. Joined, they took {threads[1][0] * 1e3:.0f} and {processes[1][0] * 1e3:.0f} ms.",
    ]


LESSON = Lesson(
    name="cpu-io",
    title="Computing and waiting: who is faster, and where",
    claim="Waiting overlaps in threads, greenlets and processes alike, on any number of cores; computing in Python is "
    "done at once only by processes, and by no more of them than there are cores.",
    wrong="Judging by one case; or stopping the clock when the threads have only been started.",
    right="Both kinds of work on one core and on all, joined before the clock is stopped.",
    service="The think time between reading and writing (think() in service/box_office.py): under LASTSEAT_THINK=io "
    "the 16 threads of a gthread worker think at once for 16 different events; under LASTSEAT_THINK=cpu they take "
    "turns, and only the second process brings a second core.",
    parameters=(
        Parameter("tasks", 8, "tasks of each kind, a process, thread or greenlet each", 4, 40),
        Parameter("work_ms", 25, "how long a task lasts alone, in milliseconds", 5, 500),
        Parameter("tries", 2, "times that each case is tried; the shortest counts", 1, 10),
        Parameter("start_method", "fork", "how processes are started", choices=("fork", "spawn")),
    ),
    limit_s=120,
    run=run,
    chinese={
        "one after another": "一个接一个",
        "processes": "进程",
        "threads": "线程",
        "greenlets": "协程",
        "work": "工作",
        **{
            f"{work}, {where}": f"{chinese_work},{chinese_where}"
            for work, chinese_work in {"computing": "计算", "computing in C": "C 代码计算", "waiting": "等待"}.items()
            for where, chinese_where in {"one core": "单核", "all cores": "所有核"}.items()
        },
        "Time for the same tasks (ms)": "完成同样任务的时间(毫秒)",
        "of which starting processes": "其中启动进程用去",
        "How many did it at the same moment": "同一时刻最多有几个在做",
        "Cores kept busy": "平均有几个核在忙",
        "Where the clock is stopped": "在哪里停表",
        "waiting by": "由谁等待",
        "time measured (ms)": "测得的时间(毫秒)",
        "finished by then": "此时已做完",
        "of": "总数",
        "threads, not joined": "线程,没有 join",
        "threads, joined": "线程,join 之后",
        "processes, not joined": "进程,没有 join",
        "processes, joined": "进程,join 之后",
        "Speed-up over one after another": "比一个接一个快多少倍",
        "how many times as fast as one after another on the same cores": "与同样的核上一个接一个相比的倍数",
    },
)
