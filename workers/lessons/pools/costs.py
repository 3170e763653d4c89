"""The costs of a pool in time and memory, against one thread or process for each task."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from workers.lessons.common.processes import ProcessGroup, die_with_parent, start_and_join
from workers.lessons.common.resources import private_bytes
from workers.lessons.pools.behaviour import PATIENCE_S, pool_of

WAIT_S = 0.005
_gate: Any = None
_arrived: Any = None


def short_wait(_task: int) -> None:
    time.sleep(WAIT_S)


def trifle(_task: int) -> None:
    sum(range(500))


def time_threads(work: str, tasks: int, workers: int | None, tries: int) -> float:
    """Seconds for all tasks, the shortest try: by a pool of ``workers`` or, without one, by a thread each."""
    do = {"waiting": short_wait, "trifles": trifle}[work]

    def one_try() -> None:
        if workers is not None:
            with pool_of("threads", workers, "") as pool:
                list(pool.map(do, range(tasks)))
            return
        start_and_join(threading.Thread(target=do, args=(number,)) for number in range(tasks))

    return _shortest(one_try, tries)


def time_processes(tasks: int, workers: int | None, tries: int, method: str) -> float:
    """The same by processes, for tasks that take no time: starting the processes is measured."""

    def one_try() -> None:
        if workers is not None:
            with pool_of("processes", workers, method) as pool:
                list(pool.map(trifle, range(tasks)))
            return
        with ProcessGroup(method) as group:
            for number in range(tasks):
                group.start(trifle, number)
            if not group.join(PATIENCE_S):
                raise RuntimeError("a process did not end")

    return _shortest(one_try, tries)


def _shortest(one_try: Callable[[], None], tries: int) -> float:
    lasted = []
    for _ in range(tries):
        began = time.perf_counter()
        one_try()
        lasted.append(time.perf_counter() - began)
    return min(lasted)


def hold_threads(tasks: int, workers: int | None) -> dict[str, float]:
    """Stops all tasks at a gate: the number of threads that are alive then, and the memory that they took."""
    gate, arrived = threading.Event(), threading.Semaphore(0)
    before, memory = threading.active_count(), private_bytes()
    with contextlib.ExitStack() as stack:
        pool = None if workers is None else stack.enter_context(pool_of("threads", workers, ""))
        for _ in range(tasks):
            if pool is not None:
                pool.submit(wait_at_gate, gate, arrived)
                continue
            thread = threading.Thread(target=wait_at_gate, args=(gate, arrived))
            thread.start()
            stack.callback(thread.join)
        for _ in range(min(tasks, workers or tasks)):
            arrived.acquire(timeout=PATIENCE_S)
        found = {"alive": threading.active_count() - before, "mb": max(0, private_bytes() - memory) / 1e6}
        gate.set()
    return found


def hold_processes(tasks: int, workers: int | None, method: str) -> dict[str, float]:
    """The same for processes; their memory is what no other process shares with them."""
    context = multiprocessing.get_context(method)
    gate, arrived = context.Event(), context.Semaphore(0)
    with ProcessGroup(method) as group, contextlib.ExitStack() as stack:
        if workers is None:
            for _ in range(tasks):
                group.start(wait_at_gate, gate, arrived)
        else:
            pool = ProcessPoolExecutor(workers, context, initializer=know_gate, initargs=(gate, arrived))
            stack.enter_context(pool)
            for _ in range(tasks):
                pool.submit(wait_at_known_gate)
        for _ in range(min(tasks, workers or tasks)):
            arrived.acquire(timeout=PATIENCE_S)
        alive = [child.pid for child in multiprocessing.active_children()]
        found = {"alive": len(alive), "mb": sum(private_bytes(pid) for pid in alive) / 1e6}
        gate.set()
    return found


def wait_at_gate(gate: Any, arrived: Any) -> None:
    arrived.release()
    gate.wait(PATIENCE_S)


def know_gate(gate: Any, arrived: Any) -> None:
    global _gate, _arrived
    _gate, _arrived = gate, arrived
    die_with_parent()


def wait_at_known_gate() -> None:
    wait_at_gate(_gate, _arrived)
