"""What a process, a thread and a greenlet cost to start and to keep; and the main guard that spawning needs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.children import MOST_PROCESSES, MOST_SPAWNED, in_child
from workers.lessons.form import Findings, Lesson, Parameter, Plot, Progress, Table, Value
from workers.lessons.spawn_guard import STARTS, Outcome, Start, try_start

SPAWNED, FORKED, THREAD, GREENLET = "process, spawned", "process, forked", "thread", "greenlet"
SMALL_MACHINE_KIB = 512 * 1024
_TRIES = {SPAWNED: 1, FORKED: 3, THREAD: 5, GREENLET: 5}


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    rows: list[list[Value]] = []
    costs = {}
    for kind, counts in _counts(settings).items():
        for count in counts:
            progress(f"{kind}: {count}")
            costs[kind, count] = cost = _measure(kind, count)
            rows.append([kind, int(cost["alive"]), cost["one_us"], cost["one_kib"], cost["one_kib"] * count / 1024])
    start_us = {kind: _least(costs, kind, "one_us") for kind in _TRIES}
    keep_kib = {kind: _least(costs, kind, "one_kib") for kind in _TRIES}
    with tempfile.TemporaryDirectory() as name:
        progress("the main guard")
        outcomes = {start: try_start(start, Path(name)) for start in STARTS}
    measured: dict[str, Any] = {}
    for kind in _TRIES:
        key = kind.replace(", ", "_")
        measured |= {f"{key}_start_us": start_us[kind], f"{key}_keep_kib": keep_kib[kind]}
    for start, outcome in outcomes.items():
        key = start.says.removeprefix("a ").replace(" ", "_") + ("_guarded" if start.guarded else "_unguarded")
        measured |= {f"{key}_worked": outcome.worked, f"{key}_runs": outcome.runs}
    return Findings(
        holds=_costs_hold(start_us, keep_kib) and _guard_holds(outcomes),
        measured=measured,
        tables=[
            Table(
                "What one costs when so many are alive",
                ["what", "alive at once", "to start one (µs)", "to keep one (KiB)", "to keep all (MiB)"],
                rows,
            ),
            Table(
                "How many would fit into 512 MiB (reckoned)",
                ["what", "so many"],
                [[kind, _fit(one_kib)] for kind, one_kib in keep_kib.items()],
            ),
            Table(
                "With and without the main guard",
                ["what is started", "main guard", "file run (times)", "work done", "error"],
                [[each.says, each.guarded, out.runs, out.worked, out.error] for each, out in outcomes.items()],
            ),
        ],
        figures=[
            Plot("To start one", "", "microseconds, logarithmic", {"start": list(start_us.items())}, log=True),
            Plot("To keep one", "", "KiB of memory, logarithmic", {"keep": list(keep_kib.items())}, log=True),
        ],
        see=_see(start_us, keep_kib, outcomes),
    )


def _counts(settings: Mapping[str, Any]) -> dict[str, list[int]]:
    """How many of each kind to have alive at once: ten, a hundred, a thousand, as far as asked for, and what is."""

    def steps(most: int) -> list[int]:
        return [*(count for count in (10, 100, 1000) if count < most), most]

    many, forked, spawned = settings["most"], settings["processes"], settings["spawned"]
    return {SPAWNED: steps(spawned), FORKED: steps(forked), THREAD: steps(many), GREENLET: steps(many)}


def _measure(kind: str, count: int) -> dict[str, float]:
    tries, module = _TRIES[kind], "workers.lessons.spawn_costs"
    if kind in (SPAWNED, FORKED):
        method = "spawn" if kind == SPAWNED else "fork"
        cost: dict[str, float] = in_child(f"{module}:processes", count, tries, method)
        return cost
    greenlets = kind == GREENLET
    cost = in_child(f"{module}:{'greenlets' if greenlets else 'threads'}", count, tries, gevent=greenlets)
    return cost


def _least(costs: Mapping[tuple[str, int], Mapping[str, float]], kind: str, what: str) -> float:
    """The best that was measured: what it costs where nothing else was in the way."""
    return min(cost[what] for (each, _), cost in costs.items() if each == kind)


def _fit(one_kib: float) -> int:
    return int(SMALL_MACHINE_KIB / max(one_kib, 0.1))


def _costs_hold(start_us: Mapping[str, float], keep_kib: Mapping[str, float]) -> bool:
    """By far smaller factors than were ever seen: 13 to 60 from a thread to a fork, 28 to 60 from there to a spawn."""
    return (
        start_us[FORKED] > 3 * start_us[THREAD]
        and start_us[SPAWNED] > 3 * start_us[FORKED]
        and start_us[THREAD] > start_us[GREENLET]
        and keep_kib[FORKED] > 10 * keep_kib[THREAD]
        and keep_kib[SPAWNED] > 2 * keep_kib[FORKED]
        and keep_kib[THREAD] > keep_kib[GREENLET]
    )


def _guard_holds(outcomes: Mapping[Start, Outcome]) -> bool:
    """Only the spawned process without the guard fails; a spawned one alone runs the file again."""
    return all(
        outcome.worked == (start.guarded or "spawned" not in start.says)
        and outcome.runs == (2 if "spawned" in start.says else 1)
        for start, outcome in outcomes.items()
    )


def _see(start_us: Mapping[str, float], keep_kib: Mapping[str, float], outcomes: Mapping[Start, Outcome]) -> list[str]:
    unguarded = outcomes[STARTS[0]]
    return [
        f"In the time of one forked process {start_us[FORKED] / start_us[THREAD]:,.0f} threads or "
        f"{start_us[FORKED] / start_us[GREENLET]:,.0f} greenlets start; in the time of one spawned process, "
        f"{start_us[SPAWNED] / start_us[FORKED]:,.0f} forked ones.",
        f"A forked process keeps {keep_kib[FORKED] / 1024:.1f} MiB of its own, a spawned one "
        f"{keep_kib[SPAWNED] / 1024:.1f}; a thread {keep_kib[THREAD]:.0f} KiB, a greenlet {keep_kib[GREENLET]:.0f}. "
        "From a thread to a greenlet the step in memory is the smallest of the three.",
        f"Without the main guard the spawned process ran the file again from the top ({unguarded.runs} runs), tried to "
        f"start a process of its own, and ended with {unguarded.error}; its work was never done. A forked process and "
        "a thread begin in the middle, with what is there, and need no guard.",
    ]


LESSON = Lesson(
    name="spawn",
    title="What it costs to start and to keep",
    claim="A process costs far more than a thread, to start and to keep, and a spawned one far more than a forked one; "
    "a greenlet costs less than a thread.",
    wrong="A process for every visitor; or a program that spawns without the main guard, and so runs itself again.",
    right="Few processes, started once and kept; threads or greenlets inside them; the main guard wherever one spawns.",
    service="WORKER_MODELS in workers/__init__.py: gunicorn forks its few workers once, at start (4 for sync, 2 for "
    "gthread and gevent); what comes with a buyer is at most a thread of a pool of 16 or a greenlet. A process for "
    "each purchase would start slower than the purchase is.",
    run=run,
    parameters=(
        Parameter("most", 1000, "threads and greenlets alive at once, at most", 50, 1000),
        Parameter("processes", MOST_PROCESSES, "forked processes alive at once, at most", 1, MOST_PROCESSES),
        Parameter("spawned", 10, "spawned processes alive at once, at most", 1, MOST_SPAWNED),
    ),
    limit_s=120,
    chinese={
        "What one costs when so many are alive": "同时活着这么多时，每一个的代价",
        "what": "种类",
        "alive at once": "同时活着",
        "to start one (µs)": "启动一个（微秒）",
        "to keep one (KiB)": "养一个（KiB）",
        "to keep all (MiB)": "全部养着（MiB）",
        SPAWNED: "进程（spawn）",
        FORKED: "进程（fork）",
        THREAD: "线程",
        GREENLET: "协程（greenlet）",
        "How many would fit into 512 MiB (reckoned)": "512 MiB 内存里放得下多少（推算）",
        "so many": "个数",
        "With and without the main guard": "有没有 main 保护",
        "what is started": "启动什么",
        "main guard": "main 保护",
        "file run (times)": "文件被执行（次）",
        "work done": "活干了吗",
        "error": "错误",
        "a spawned process": "进程（spawn）",
        "a forked process": "进程（fork）",
        "a thread": "线程",
        "To start one": "启动一个要多久",
        "microseconds, logarithmic": "微秒，对数刻度",
        "To keep one": "养一个要多少内存",
        "KiB of memory, logarithmic": "内存 KiB，对数刻度",
    },
)
