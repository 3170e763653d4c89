"""What a pool saves and what it costs: one thread or process for each task against a fixed number of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from workers.lessons.children import Crew, die_with_parent
from workers.lessons.pools_use import PATIENCE_S, pool_of

WAIT_S = 0.005
_gate: Any = None
_arrived: Any = None


def short_wait(_task: int) -> None:
    time.sleep(WAIT_S)


def trifle(_task: int) -> None:
    sum(range(500))


def time_threads(work: str, tasks: int, workers: int | None, tries: int) -> float:
    """Seconds for so many tasks, the shortest try: by a pool of ``workers`` or, without one, by a thread each."""
    do = {"waiting": short_wait, "trifles": trifle}[work]

    def one_try() -> None:
        if workers is not None:
            with pool_of("threads", workers, "") as pool:
                list(pool.map(do, range(tasks)))
            return
        threads = [threading.Thread(target=do, args=(number,)) for number in range(tasks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return _shortest(one_try, tries)


def time_processes(tasks: int, workers: int | None, tries: int, method: str) -> float:
    """The same by processes, for trifles: starting them is what it is about."""

    def one_try() -> None:
        if workers is not None:
            with pool_of("processes", workers, method) as pool:
                list(pool.map(trifle, range(tasks)))
            return
        with Crew(method) as crew:
            for number in range(tasks):
                crew.start(trifle, number)
            if not crew.join(PATIENCE_S):
                raise RuntimeError("a process did not end")

    return _shortest(one_try, tries)


def _shortest(one_try: Callable[[], None], tries: int) -> float:
    lasted = []
    for _ in range(tries):
        began = time.perf_counter()
        one_try()
        lasted.append(time.perf_counter() - began)
    return min(lasted)


def hold_threads(tasks: int, workers: int | None) -> dict[str, float | None]:
    """Stop all tasks at a gate: how many threads are alive then, and the memory that they took."""
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def wait_at_gate(_task: int) -> None:
        arrived.release()
        gate.wait(PATIENCE_S)

    before, memory = threading.active_count(), private_bytes([os.getpid()])
    if workers is None:
        threads = [threading.Thread(target=wait_at_gate, args=(number,)) for number in range(tasks)]
        for thread in threads:
            thread.start()
        pool = None
    else:
        threads, pool = [], pool_of("threads", workers, "")
        for number in range(tasks):
            pool.submit(wait_at_gate, number)
    for _ in range(min(tasks, workers or tasks)):
        arrived.acquire(timeout=PATIENCE_S)
    found = _held(threading.active_count() - before, private_bytes([os.getpid()]), memory)
    gate.set()
    for thread in threads:
        thread.join()
    if pool is not None:
        pool.shutdown()
    return found


def hold_processes(tasks: int, workers: int | None, method: str) -> dict[str, float | None]:
    """The same for processes; their memory is what no other process shares with them."""
    context = multiprocessing.get_context(method)
    gate, arrived = context.Event(), context.Semaphore(0)
    with Crew(method) as crew, contextlib.ExitStack() as stack:
        if workers is None:
            for _ in range(tasks):
                crew.start(wait_at_process_gate, gate, arrived)
        else:
            pool = ProcessPoolExecutor(workers, context, initializer=know_gate, initargs=(gate, arrived))
            stack.enter_context(pool)
            for _ in range(tasks):
                pool.submit(wait_at_known_gate)
        for _ in range(min(tasks, workers or tasks)):
            arrived.acquire(timeout=PATIENCE_S)
        alive = [child.pid or 0 for child in multiprocessing.active_children()]
        found = _held(len(alive), private_bytes(alive), 0)
        gate.set()
    return found


def wait_at_process_gate(gate: Any, arrived: Any) -> None:
    arrived.release()
    gate.wait(PATIENCE_S)


def know_gate(gate: Any, arrived: Any) -> None:
    global _gate, _arrived
    _gate, _arrived = gate, arrived
    die_with_parent()


def wait_at_known_gate() -> None:
    wait_at_process_gate(_gate, _arrived)


def _held(alive: int, memory: int | None, before: int | None) -> dict[str, float | None]:
    known = memory is not None and before is not None
    return {"alive": alive, "mb": max(0, (memory or 0) - (before or 0)) / 1e6 if known else None}


def private_bytes(pids: list[int]) -> int | None:
    """Memory that only these processes use; None where the kernel does not tell (it does on Linux)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return None
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total
