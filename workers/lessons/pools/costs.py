"""The costs of a pool in time and memory, against one thread or process for each task."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from typing import Any

from workers.lessons.common.processes import PATIENCE_S, ProcessGroup, die_with_parent, start_and_join
from workers.lessons.common.resources import private_bytes
from workers.lessons.pools.behaviour import pool_of

WAIT_S = 0.005
_gate: Any = None
_arrived: Any = None


def short_wait(_task: int) -> None:
    time.sleep(WAIT_S)


def trifle(_task: int) -> None:
    sum(range(500))


def time_tasks(  # noqa: PLR0917
    kind: str, work: str, tasks: int, workers: int | None, tries: int, method: str
) -> float:
    """Seconds for all tasks, the shortest try: by a pool of ``workers`` or, without one, by a worker for each."""
    do = {"waiting": short_wait, "trifles": trifle}[work]
    lasted = []
    for _ in range(tries):
        began = time.perf_counter()
        if workers is not None:
            with pool_of(kind, workers, method) as pool:
                list(pool.map(do, range(tasks)))
        elif kind == "threads":
            start_and_join(threading.Thread(target=do, args=(number,)) for number in range(tasks))
        else:
            with ProcessGroup(method) as group:
                for number in range(tasks):
                    group.start(do, number)
                if not group.join():
                    raise RuntimeError("a process did not end")
        lasted.append(time.perf_counter() - began)
    return min(lasted)


def hold(kind: str, tasks: int, workers: int | None, method: str) -> dict[str, float]:
    """Stops all tasks at a gate: the number of threads or processes that are alive then, and their own memory."""
    context: Any = threading if kind == "threads" else multiprocessing.get_context(method)
    gate, arrived = context.Event(), context.Semaphore(0)
    before, memory = threading.active_count(), private_bytes()
    with contextlib.ExitStack() as stack:
        if workers is None:
            create = context.Thread if kind == "threads" else context.Process
            for _ in range(tasks):
                member = create(target=wait_at_gate, args=(gate, arrived), daemon=True)
                member.start()
                stack.callback(member.join)
        else:
            pool = stack.enter_context(pool_of(kind, workers, method, know_gate, gate, arrived))
            for _ in range(tasks):
                pool.submit(wait_at_known_gate)
        for _ in range(min(tasks, workers or tasks)):
            arrived.acquire(timeout=PATIENCE_S)
        if kind == "threads":
            alive, own = threading.active_count() - before, max(0, private_bytes() - memory)
        else:
            processes = [child.pid for child in multiprocessing.active_children()]
            alive, own = len(processes), sum(map(private_bytes, processes))
        gate.set()
    return {"alive": alive, "mb": own / 1e6}


def wait_at_gate(gate: Any, arrived: Any) -> None:
    arrived.release()
    gate.wait(PATIENCE_S)


def know_gate(gate: Any, arrived: Any) -> None:
    global _gate, _arrived
    _gate, _arrived = gate, arrived
    die_with_parent()


def wait_at_known_gate() -> None:
    wait_at_gate(_gate, _arrived)
