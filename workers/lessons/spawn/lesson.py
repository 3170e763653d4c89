"""The costs of starting and keeping a process, a thread and a greenlet; and the main guard that spawning needs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.common.figures import BarChart, Table, Value
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.common.processes import call_in_child
from workers.lessons.spawn.main_guard import STARTS, ProgramRuns, Start, try_start

SPAWNED, FORKED, THREAD, GREENLET = "process, spawned", "process, forked", "thread", "greenlet"
SMALL_MACHINE_KIB = 512 * 1024
_COSTS = "workers.lessons.spawn.costs"
# The function in ``costs``, the number of tries and the start method, and the setting that has the number.
_CALLS: dict[str, tuple[str, list[Any], str]] = {
    SPAWNED: ("processes", [1, "spawn"], "spawned"),
    FORKED: ("processes", [3, "fork"], "processes"),
    THREAD: ("threads", [5], "most"),
    GREENLET: ("greenlets", [5], "most"),
}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    rows: list[list[Value]] = []
    start_us, keep_kib = {}, {}
    for kind, (function, arguments, most) in _CALLS.items():
        costs = []
        for count in [*(count for count in (10, 100, 1000) if count < settings[most]), settings[most]]:
            progress(f"{kind}: {count}")
            cost = call_in_child(f"{_COSTS}:{function}", count, *arguments, gevent=kind == GREENLET)
            costs.append((cost["one_us"], cost["one_kib"]))
            rows.append([kind, int(cost["alive"]), *costs[-1], cost["one_kib"] * count / 1024])
        # The lowest cost counts: other programs disturbed it least.
        start_us[kind], keep_kib[kind] = map(min, zip(*costs, strict=True))
    with tempfile.TemporaryDirectory() as name:
        progress("the main guard")
        outcomes = {start: try_start(start, Path(name)) for start in STARTS}
    measured: dict[str, Any] = {}
    for kind in _CALLS:
        measured |= keyed(kind, start_us=start_us[kind], keep_kib=keep_kib[kind])
    for start, outcome in outcomes.items():
        name = start.what.removeprefix("a ") + (" guarded" if start.guarded else " unguarded")
        measured |= keyed(name, worked=outcome.worked, runs=outcome.runs)
    return LessonResult(
        holds=_costs_hold(start_us, keep_kib) and _guard_holds(outcomes),
        measured=measured,
        tables=[
            Table(
                "What one costs, by the number that is alive",
                ["what", "alive at once", "to start one (µs)", "to keep one (KiB)", "to keep all (MiB)"],
                rows,
            ),
            Table(
                "How many would fit into 512 MiB (computed)",
                ["what", "number"],
                [[kind, int(SMALL_MACHINE_KIB / max(one_kib, 0.1))] for kind, one_kib in keep_kib.items()],
            ),
            Table(
                "With and without the main guard",
                ["what is started", "main guard", "file run (times)", "work done", "error"],
                [[each.what, each.guarded, out.runs, out.worked, out.error] for each, out in outcomes.items()],
            ),
        ],
        figures=[
            BarChart("To start one", "microseconds, logarithmic", {"start": list(start_us.items())}, log=True),
            BarChart("To keep one", "KiB of memory, logarithmic", {"keep": list(keep_kib.items())}, log=True),
        ],
        facts={
            "threads_in_a_fork": start_us[FORKED] / start_us[THREAD],
            "greenlets_in_a_fork": start_us[FORKED] / start_us[GREENLET],
            "forks_in_a_spawn": start_us[SPAWNED] / start_us[FORKED],
            "forked_keeps_mib": keep_kib[FORKED] / 1024,
            "spawned_keeps_mib": keep_kib[SPAWNED] / 1024,
            "unguarded_error": outcomes[STARTS[0]].error,
        },
    )


def _costs_hold(start_us: Mapping[str, float], keep_kib: Mapping[str, float]) -> bool:
    """The factors are far below the measured ones: thread to fork 13 to 60, fork to spawn 28 to 60."""
    return (
        start_us[FORKED] > 3 * start_us[THREAD]
        and start_us[SPAWNED] > 3 * start_us[FORKED]
        and start_us[THREAD] > start_us[GREENLET]
        and keep_kib[FORKED] > 10 * keep_kib[THREAD]
        and keep_kib[SPAWNED] > 2 * keep_kib[FORKED]
        and keep_kib[THREAD] > keep_kib[GREENLET]
    )


def _guard_holds(outcomes: Mapping[Start, ProgramRuns]) -> bool:
    """Only the spawned process without the guard fails; only spawned processes run the file again."""
    return all(
        outcome.worked == (start.guarded or "spawned" not in start.what)
        and outcome.runs == (2 if "spawned" in start.what else 1)
        for start, outcome in outcomes.items()
    )
