"""Threads that change one number under the interpreter that runs this file: any CPython from 3.8 on, GIL or none.

A program of its own, which imports nothing of ours: it reads its settings as JSON from standard input and writes its
findings as JSON to standard output. All threads of a try wait at a barrier first, so that they run at once.
"""

# ruff: noqa: PLW0603

from __future__ import annotations

import contextlib
import dis
import json
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

# The time after which another thread may run; the default, 5 ms, is longer than most tries here.
SWITCH_S = 1e-5
PAUSE_S = 0.001

num = 0
lock = threading.Lock()
noted: list[tuple[float, float, float, int]] = []


def one() -> int:
    return 1


def in_one_line(times: int) -> None:
    global num
    for _ in range(times):
        num -= 1


def with_a_call(times: int) -> None:
    global num
    for _ in range(times):
        num -= one()


def with_a_call_locked(times: int) -> None:
    global num
    for _ in range(times):
        with lock:
            num -= one()


def with_a_pause(times: int) -> None:
    read_pause_write(times, contextlib.nullcontext())


def with_a_pause_locked(times: int) -> None:
    read_pause_write(times, lock)


def read_pause_write(times: int, guard: contextlib.AbstractContextManager[Any]) -> None:
    global num
    for _ in range(times):
        asked = time.perf_counter()
        with guard:
            began = time.perf_counter()
            read = num
            time.sleep(PAUSE_S)
            num = read - 1
            noted.append((asked, began, time.perf_counter(), read))


def all_at_once(task: Callable[[int], object], threads: int, times: int) -> int:
    """Runs ``task`` in all threads at once. Returns the largest number of threads that were alive."""
    gate = threading.Barrier(threads)

    def begin() -> None:
        gate.wait(30)
        task(times)

    members = [threading.Thread(target=begin, daemon=True) for _ in range(threads)]
    return start_and_join(members)


def one_after_the_other(task: Callable[[int], object], threads: int) -> int:
    """Starts the threads in a loop, without a barrier: the task decides how many are alive at once."""
    return start_and_join([threading.Thread(target=task, args=(1,), daemon=True) for _ in range(threads)])


def start_and_join(members: list[threading.Thread]) -> int:
    most = 0
    for number, member in enumerate(members, 1):
        member.start()
        most = max(most, sum(each.is_alive() for each in members[:number]))
    for member in members:
        member.join()
    return most


def take(task: Callable[[int], None], threads: int, times: int, gate: bool = True) -> dict[str, Any]:
    """All threads together decrement the number down to 0; every one that is left over is a lost update."""
    global num
    num = threads * times
    del noted[:]
    began = time.perf_counter()
    alive = all_at_once(task, threads, times) if gate else one_after_the_other(task, threads)
    spans = sorted([asked - began, read_at - began, wrote - began, read] for asked, read_at, wrote, read in noted)
    return {"threads": threads, "times": times, "alive": max(1, alive), "left": num, "spans": spans}


def references(threads: int, times: int) -> dict[str, int]:
    """All threads take and give back references to one object: its count is the same as before."""
    thing = object()

    def hold(times: int) -> None:
        for _ in range(times):
            held = [thing, thing]
            del held

    before = sys.getrefcount(thing)
    all_at_once(hold, threads, times)
    return {"operations": threads * times * 4, "expected": before, "found": sys.getrefcount(thing)}


def appends(threads: int, times: int) -> dict[str, int]:
    """All threads append to one list: nothing is missing."""
    things: list[int] = []

    def add(times: int) -> None:
        for number in range(times):
            things.append(number)  # noqa: PERF402 - one append after the other is what is tried

    all_at_once(add, threads, times)
    return {"operations": threads * times, "expected": threads * times, "found": len(things)}


def switch_points(task: Callable[[int], None], lasts_s: float) -> list[dict[str, Any]]:
    """For each instruction of the loop of ``task``: how often the thread stood there when another one ran."""
    seen: Counter[int] = Counter()
    over = time.perf_counter() + lasts_s
    sys.setswitchinterval(1e-6)
    while time.perf_counter() < over:
        worker = threading.Thread(target=task, args=(20_000,), daemon=True)
        worker.start()
        while worker.is_alive() and time.perf_counter() < over:
            frame = sys._current_frames().get(worker.ident or 0)
            while frame is not None and frame.f_code is not task.__code__:
                frame = frame.f_back
            if frame is not None:
                seen[frame.f_lasti] += 1
        worker.join()
    sys.setswitchinterval(SWITCH_S)
    steps = [each for each in dis.get_instructions(task) if each.opname not in ("CACHE", "EXTENDED_ARG")]
    jump = max(number for number, each in enumerate(steps) if each.opname.startswith("JUMP"))
    loop = next(number for number, each in enumerate(steps) if each.opname == "FOR_ITER")
    offsets = [each.offset for each in steps] + [1 << 30]
    return [
        {
            "does": steps[number].opname,
            "with": steps[number].argrepr.replace("NULL + ", "").replace(" + NULL", ""),
            "seen": sum(count for offset, count in seen.items() if offsets[number] <= offset < offsets[number + 1]),
        }
        for number in range(loop, jump + 1)
    ]


def speed_up(rounds: int) -> float:
    """The speed of two threads that compute at once, over one after the other; the best of five tries each."""

    def compute(times: int) -> int:
        total = 0
        for number in range(times):
            total += number * number % 7
        return total

    sys.setswitchinterval(0.005)  # the default; taking turns all the time would cost the threads too much
    alone, together = [], []
    for _ in range(5):
        began = time.perf_counter()
        compute(rounds)
        compute(rounds)
        halfway = time.perf_counter()
        all_at_once(compute, 2, rounds)
        alone.append(halfway - began)
        together.append(time.perf_counter() - halfway)
    sys.setswitchinterval(SWITCH_S)
    return min(alone) / min(together)


def about() -> dict[str, Any]:
    """The version and kind of this interpreter."""
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "minor": list(sys.version_info[:2]),
        "implementation": sys.implementation.name,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "path": sys.executable,
    }


def until_lost(task: Callable[[int], None], threads: int, times: int, tries: int) -> dict[str, Any]:
    """Tries again if nothing was lost: a switch at the wrong place is likely, not certain."""
    found = take(task, threads, times)
    for _ in range(tries - 1):
        if found["left"]:
            break
        found = take(task, threads, times)
    return found


def probe(threads: int, times: int, parts: str) -> dict[str, Any]:
    sys.setswitchinterval(SWITCH_S)
    found: dict[str, Any] = {"about": about()}
    if parts == "ask":
        return found
    found["in_one_line"] = until_lost(in_one_line, threads, times, 3)
    found["with_a_call"] = until_lost(with_a_call, threads, times, 10)
    found["with_a_call_locked"] = take(with_a_call_locked, threads, times)
    found["points_in_one_line"] = switch_points(in_one_line, 0.1)
    found["points_with_a_call"] = switch_points(with_a_call, 0.1)
    found["speed_up"] = speed_up(100_000)
    if parts == "all":
        found["once"] = take(in_one_line, threads, 1, gate=False)
        found["with_a_pause"] = take(with_a_pause, threads, 1)
        found["with_a_pause_locked"] = take(with_a_pause_locked, threads, 1)
        found["references"] = references(threads, times)
        found["appends"] = appends(threads, times)
    return found


if __name__ == "__main__":
    print(json.dumps(probe(**json.load(sys.stdin))))
