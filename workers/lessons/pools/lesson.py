"""Pools: a fixed number of workers and a queue. What they promise, what they hide, and whether they cost speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.lessons.common.computing import most_at_once
from workers.lessons.common.lesson import LessonResult, Progress
from workers.lessons.common.processes import call_in_child
from workers.lessons.pools.report import KINDS, WORKS, PoolMeasurements, figures, tables

_BEHAVIOUR, _COSTS = "workers.lessons.pools.behaviour", "workers.lessons.pools.costs"


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    found = PoolMeasurements(settings)
    workers, tasks, method = settings["workers"], settings["tasks"], settings["start_method"]
    for kind in KINDS:
        progress(f"a pool of {kind}, more tasks than workers")
        found.used[kind] = _with_totals(
            call_in_child(f"{_BEHAVIOUR}:use", kind, workers, tasks, settings["task_ms"], method)
        )
        found.closed[kind] = call_in_child(f"{_BEHAVIOUR}:shut_down", kind, workers, tasks, method)
    progress("a task that fails, a worker that dies")
    found.silence.update(call_in_child(f"{_BEHAVIOUR}:silence"))
    found.broken.update(call_in_child(f"{_BEHAVIOUR}:broken", workers, tasks, method))
    _measure_costs(found, progress)
    return LessonResult(
        holds=_promises_kept(found) and _failures_seen(found) and _costs_as_claimed(found),
        measured=found.measured(),
        tables=tables(found),
        figures=figures(found),
    )


def _measure_costs(found: PoolMeasurements, progress: Progress) -> None:
    """Memory and time of one worker for each task, of a small pool, and of a pool as large as the tasks."""
    workers, method, tries = (found.settings[key] for key in ("workers", "start_method", "tries"))
    for kind in KINDS:
        for size, limit in {"each": None, "pool": workers}.items():
            progress(f"memory of one of the {kind} for each task, and of a pool")
            found.held[kind, size] = call_in_child(f"{_COSTS}:hold", kind, found.settings[kind], limit, method)
    for work, (kind, _) in WORKS.items():
        tasks = found.settings[kind]
        do = "trifles" if work == "processes" else work
        for size, limit in {"each": None, "pool": workers, "large_pool": tasks}.items():
            progress(f"time of one for each task, and of a pool of {kind}: {do}")
            found.times[work, size] = call_in_child(f"{_COSTS}:time_tasks", kind, do, tasks, limit, tries, method)


def _with_totals(used: dict[str, Any]) -> dict[str, Any]:
    """Adds the totals of all tasks to their spans."""
    spans = used["spans"]
    return used | {
        "workers_used": len({worker for worker, *_ in spans}),
        "most_at_once": most_at_once((began, ended) for _, began, ended, _ in spans),
        "queued_ms": round(max(began for _, began, _, _ in spans) * 1e3, 1),
        "failed": sum(failed for *_, failed in spans),
    }


def _promises_kept(found: PoolMeasurements) -> bool:
    workers, tasks = found.settings["workers"], found.settings["tasks"]
    return all(
        used["workers_used"] <= workers >= used["most_at_once"]
        and used["callbacks"] == len(used["spans"]) == tasks
        and used["callbacks_here"]
        and found.closed[kind]["refused"]
        and found.closed[kind]["done"] + found.closed[kind]["cancelled"] == tasks
        for kind, used in found.used.items()
    )


def _failures_seen(found: PoolMeasurements) -> bool:
    """One task failed, silently unless asked for; and a dead worker took others' tasks with it."""
    return (
        all(used["failed"] == 1 for used in found.used.values())
        and found.silence["thread_lines"] > 0 == found.silence["pool_lines"]
        and found.silence["pool_asked"] == "ValueError"
        and found.broken["failed"] > 1
        and found.broken["refused"]
    )


def _costs_as_claimed(found: PoolMeasurements) -> bool:
    """Fewer alive; trifles not slower (with much room for a busy machine); waiting slower in a small pool only."""
    times, workers = found.times, found.settings["workers"]
    return (
        all(found.held[kind, "pool"]["alive"] <= workers for kind in KINDS)
        and all(found.held[kind, "each"]["alive"] == found.settings[kind] for kind in KINDS)
        and times["processes", "pool"] < times["processes", "each"]
        and times["trifles", "pool"] < 3 * times["trifles", "each"]
        and times["waiting", "pool"] > times["waiting", "large_pool"]
    )
