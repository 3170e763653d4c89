"""Coroutines: one thread, switched by the program itself wherever it would wait, and nowhere else."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.lessons.children import in_child
from workers.lessons.coroutines_hand import (
    Note,
    add_up,
    hand_over_by_generators,
    hand_over_by_threads,
    switch_between,
    two_waits_by_asyncio,
    two_waits_by_hand,
    two_waits_in_turn,
)
from workers.lessons.coroutines_report import LONG, SHORT, Found, figures, see, tables
from workers.lessons.form import Findings, Lesson, Parameter, Progress

LAST = 4
_PATCHED = "workers.lessons.coroutines_patched"
OVERLAPS = {
    "one after another": False,
    "generators by hand": True,
    "asyncio": True,
    "greenlets, patched": True,
    "greenlets, not patched": False,
}
# Whether others go on while a greenlet does this under gevent's patch; of sleep(0) nothing is promised.
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


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    greenlets, switches = settings["greenlets"], settings["switches"]
    waits = {"short": SHORT * settings["unit_ms"] / 1e3, "long": LONG * settings["unit_ms"] / 1e3}
    progress("two waits, five ways")
    ways = {
        "one after another": _noted(two_waits_in_turn, waits),
        "generators by hand": _noted(two_waits_by_hand, waits),
        "asyncio": _noted(two_waits_by_asyncio, waits),
        "greenlets, patched": in_child(f"{_PATCHED}:two_waits", waits, gevent=True),
        "greenlets, not patched": in_child(f"{_PATCHED}:two_waits", waits),
    }
    steps: list[tuple[str, int, int]] = []
    switch_between({name: add_up(name, LAST, lambda *step: steps.append(step)) for name in ("one", "other")})
    # Here and not in the children: a child that is killed takes nothing away.
    with tempfile.TemporaryDirectory() as folder:
        lock = str(Path(folder) / "lock")
        progress("who goes on while a greenlet waits or computes")
        hearts = in_child(f"{_PATCHED}:heartbeats", lock, settings["lasts_ms"] / 1e3, gevent=True)
        progress("locks and greenlets")
        hangs = in_child(f"{_PATCHED}:hangs_for_good", lock, 0.5, gevent=True)
        inside = {
            when: in_child(f"{_PATCHED}:most_inside", lock, greenlets, when == "before") for when in ("before", "after")
        }
    found = Found(
        settings,
        ways=ways,
        steps=steps,
        hearts=hearts,
        hangs=hangs,
        inside=inside,
        left=in_child(f"{_PATCHED}:count_down", greenlets, gevent=True),
        switching={
            "generators": hand_over_by_generators(switches),
            "greenlets": in_child(f"{_PATCHED}:hand_over", switches, gevent=True),
            "threads": hand_over_by_threads(switches),
        },
    )
    return Findings(
        holds=_waits_overlap(found) and _turns_are_given(found) and _locks_as_claimed(found),
        measured=found.measured(),
        tables=tables(found),
        figures=figures(found),
        see=see(found),
    )


def _noted(way: Callable[[dict[str, float], Note], None], waits: dict[str, float]) -> dict[str, Any]:
    """Who began and ended when, and in how many threads."""
    notes: list[Sequence[Any]] = []
    threads = set()
    began = time.perf_counter()

    def note(name: str, what: str) -> None:
        notes.append((name, what, time.perf_counter() - began))
        threads.add(threading.get_ident())

    way(waits, note)
    return {"notes": notes, "threads": len(threads)}


def _waits_overlap(found: Found) -> bool:
    return all(
        found.overlaps(way) == expected and found.ways[way]["threads"] == 1 for way, expected in OVERLAPS.items()
    )


def _turns_are_given(found: Found) -> bool:
    """By hand in strict turn, each with the sum it should have; by gevent wherever the patch can see a wait."""
    turns = [(name, number, number * (number + 1) // 2) for number in range(1, LAST + 1) for name in ("one", "other")]
    return found.steps == turns and all((found.beats(doing) > 0) == expected for doing, expected in GOES_ON.items())


def _locks_as_claimed(found: Found) -> bool:
    left = found.left
    return (
        found.hangs
        and found.inside["before"] > 1 == found.inside["after"]
        and left["at once"] == left["waits between, with a lock"] == 0 < left["waits between"]
    )


LESSON = Lesson(
    name="coroutines",
    title="Coroutines: switch where it waits, and only there",
    claim="Coroutines let waits overlap in a single thread, so that two end after the longer one; but only where the "
    "code gives the thread back. Computing, a flock in the kernel, and what was imported before the patch do not.",
    wrong="Spawn greenlets and trust the patch: without it, before it, or in a computation nobody else gets a turn.",
    right="Patch first, import afterwards; try a flock and sleep between, or wait for it in a real thread; put a lock "
    "where a wait stands between reading and writing.",
    service="The gevent worker: service/control.py tries its flock and sleeps between, for a wait in the kernel would "
    "stop every request of the process; gunicorn.conf.py never imports filelock, which would be before the patch; and "
    "the guard in service/guards/file.py tries at start whether its lock excludes two greenlets, and refuses to run "
    "where it does not.",
    parameters=(
        Parameter("unit_ms", 60, f"the waits are {SHORT} and {LONG} units of so many milliseconds", 10, 1000),
        Parameter("lasts_ms", 80, "how long each thing lasts that a greenlet does, in milliseconds", 20, 1000),
        Parameter("greenlets", 10, "greenlets that share a lock and a number", 2, 200),
        Parameter("switches", 10_000, "switches that are timed", 100, 200_000),
    ),
    limit_s=120,
    run=run,
    chinese={
        "short": "短",
        f"Two waits of {SHORT} and {LONG} units": f"两次等待,{SHORT} 和 {LONG} 个单位",
        "way": "方式",
        "overlap": "是否重叠",
        "time (ms)": "时间(毫秒)",
        "threads": "线程",
        "one after another": "一个接一个",
        "generators by hand": "手写生成器",
        "greenlets, patched": "协程,打了补丁",
        "greenlets, not patched": "协程,没打补丁",
        "one after another: short": "一个接一个:短",
        "one after another: long": "一个接一个:长",
        "generators by hand: short": "手写生成器:短",
        "generators by hand: long": "手写生成器:长",
        "asyncio: short": "asyncio:短",
        "asyncio: long": "asyncio:长",
        "greenlets, patched: short": "协程,打了补丁:短",
        "greenlets, patched: long": "协程,打了补丁:长",
        "greenlets, not patched: short": "协程,没打补丁:短",
        "greenlets, not patched: long": "协程,没打补丁:长",
        "Switching by hand: two generators add up": "手动切换:两个生成器各自求和",
        "step": "步",
        "generator": "生成器",
        "one": "甲",
        "other": "乙",
        "adds": "加上",
        "its sum so far": "自己的和",
        "While one greenlet does this, another wants to go on": "一个协程做这件事时,另一个想继续",
        "one greenlet": "一个协程",
        "beats of the other": "另一个的心跳次数",
        "others go on": "别人能否继续",
        "sleeps": "睡眠",
        "waits for a socket": "等套接字",
        "waits for a threading.Lock": "等 threading.Lock",
        "sleeps by a sleep kept from before the patch": "用补丁之前留下的 sleep",
        "computes": "计算",
        "computes, with sleep(0) between": "计算,中间 sleep(0)",
        "computes, with a short sleep between": "计算,中间短睡一下",
        "possible": "最多可能",
        "hardly": "几乎不能",
        "waits for a flock": "等 flock",
        "tries a flock and sleeps between": "试 flock,不成就睡一下",
        "waits for a flock in a real thread": "在真线程里等 flock",
        "One FileLock for all greenlets": "所有协程共用一把 FileLock",
        "filelock imported": "filelock 的导入",
        "before the patch": "在补丁之前",
        "after the patch": "在补丁之后",
        "greenlets": "协程",
        "most inside at once": "同时在内最多",
        "Each greenlet takes one away: what is left": "每个协程减一:还剩多少",
        "between reading and writing": "读和写之间",
        "left": "剩下",
        "at once": "不停顿",
        "waits between": "中间等待",
        "waits between, with a lock": "中间等待,有锁",
        "What a switch costs": "切换一次的代价",
        "between": "谁之间",
        "generators": "生成器",
        "switches": "切换次数",
        "each (µs)": "每次(微秒)",
        "Two waits: side by side, or one after the other": "两次等待:并排,还是一前一后",
        "While one greenlet does this, another wants to beat": "一个协程做这件事时,另一个想跳动",
        "one is at it": "一个在做",
        "the other gets a turn": "另一个得到机会",
        "they overlap": "互相重叠",
        "one has to wait for the other": "一个要等另一个",
        "nobody else gets a turn": "别人得不到机会",
    },
)
