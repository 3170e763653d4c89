"""The measurements of the lesson ``pools``, as tables and timelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.lessons.common.figures import Span, Table, Timeline
from workers.lessons.common.lesson import keyed

KINDS = ("threads", "processes")
SIZES = ("each", "pool", "large_pool")
WORKS = {
    "waiting": ("threads", "threads, short waits"),
    "trifles": ("threads", "threads, trifles"),
    "processes": ("processes", "processes, trifles"),
}
"""The kind of worker that does each work, and the work in words."""


@dataclass(frozen=True, slots=True)
class PoolMeasurements:
    """All measurements, for each kind of pool, or for each (work, size): one worker for each task, few, or as many."""

    settings: Mapping[str, Any]
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    times: dict[tuple[str, str], float] = field(default_factory=dict)
    silence: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, Any] = field(default_factory=dict)

    def measured(self) -> dict[str, Any]:
        found = {key: self.settings[key] for key in ("workers", "tasks", "start_method")}
        for kind, used in self.used.items():
            found |= {f"{kind}_{key}": value for key, value in used.items() if key != "spans"}
            found |= {f"{kind}_shutdown_{key}": value for key, value in self.closed[kind].items()}
        found |= self.silence | {f"worker_died_{key}": value for key, value in self.broken.items()}
        for (kind, size), held in self.held.items():
            found |= keyed(f"{kind}_{size}", alive=held["alive"], mb=round(held["mb"], 1))
        return found | {f"{what}_{size}_ms": round(time * 1e3, 2) for (what, size), time in self.times.items()}


def tables(found: PoolMeasurements) -> list[Table]:
    workers, tasks = found.settings["workers"], found.settings["tasks"]
    totals = {
        "used": "workers_used",
        "most at once": "most_at_once",
        "longest queued (ms)": "queued_ms",
        "callbacks": "callbacks",
    }
    return [
        Table(
            "More tasks than workers",
            ["pool of", "workers", "begun when made", "tasks", *totals],
            [
                [kind, workers, used["workers_when_made"], tasks, *(used[key] for key in totals.values())]
                for kind, used in found.used.items()
            ],
        ),
        Table(
            "A task that fails",
            ["where", "lines it wrote unasked", "what its future says when asked"],
            [
                ["in a thread of its own", found.silence["thread_lines"], "there is none"],
                ["in a pool's thread", found.silence["pool_lines"], found.silence["pool_asked"]],
            ],
        ),
        Table(
            "The end of a pool whose queue is not empty",
            ["what happens", "tasks", "done", "cancelled", "broken"],
            [
                *(
                    [f"shut down, {kind}", tasks, closed["done"], closed["cancelled"], 0]
                    for kind, closed in found.closed.items()
                ),
                ["a worker process dies", tasks, tasks - found.broken["failed"], 0, found.broken["failed"]],
            ],
        ),
        Table(
            "One for each task, or a pool: alive at once, and memory",
            ["workers", "tasks", "alive, one each", "alive, pool", "MB, one each", "MB, pool"],
            [
                [
                    kind,
                    found.settings[kind],
                    *(round(found.held[kind, size][what], 1) for what in ("alive", "mb") for size in SIZES[:2]),
                ]
                for kind in KINDS
            ],
        ),
        Table(
            "One for each task, or a pool: time (ms)",
            ["what", "tasks", "one each", "the pool", "a pool as large as the tasks"],
            [
                [name, found.settings[kind], *(round(found.times[work, size] * 1e3, 1) for size in SIZES)]
                for work, (kind, name) in WORKS.items()
            ],
        ),
    ]


def figures(found: PoolMeasurements) -> list[Timeline]:
    workers: dict[str, str] = {}
    queue: dict[str, list[Span]] = {}
    for number, (who, began, ended, failed) in enumerate(found.used["threads"]["spans"], 1):
        name = workers.setdefault(who, f"worker {len(workers) + 1}")
        done = Span(began, ended, name, "bad" if failed else "good")
        queue[f"task {number}"] = [Span(0, began, style="wait"), done]
    reuse: dict[str, list[Span]] = {}
    for number, (who, began, ended, failed) in enumerate(found.used["processes"]["spans"], 1):
        reuse.setdefault(who, []).append(Span(began, ended, f"task {number}", "bad" if failed else "good"))
    processes = {f"process {number}": spans for number, spans in enumerate(reuse.values(), 1)}
    styles = {"good": "done by a worker", "bad": "failed in a worker"}
    waits = {"wait": "in the queue"}
    return [
        Timeline("A pool of threads: each task waits in the queue, then a worker does it", queue, waits | styles),
        Timeline("A pool of processes: the same workers again and again", processes, styles),
    ]
