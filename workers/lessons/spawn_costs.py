"""What it costs to start and to keep processes, threads and greenlets. Each function runs in a fresh interpreter.

Time: from the first start until the last one runs. Memory: what the machine has less of while all of them live, which
is for a process what is its own (pages shared with its parent after a fork are not counted), for threads and
greenlets what their process grew by.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import psutil

from workers.lessons.children import Crew

PATIENCE_S = 20.0


def processes(count: int, tries: int, method: str) -> dict[str, float]:
    """Processes started by ``fork`` or ``spawn``; memory is the average of one."""
    took, own = [], 0.0
    for _ in range(tries):
        with Crew(method) as crew:
            arrived, over = crew.context.Semaphore(0), crew.context.Event()
            began = time.perf_counter()
            for _ in range(count):
                crew.start(arrive, arrived, over)
            for _ in range(count):
                if not arrived.acquire(timeout=PATIENCE_S):
                    raise TimeoutError("a process did not start")
            took.append(time.perf_counter() - began)
            own = sum(_own_bytes(member.pid) for member in crew.members) / count
            over.set()
            crew.join(PATIENCE_S)
    return {"alive": count, "one_us": min(took) / count * 1e6, "one_kib": own / 1024}


def arrive(arrived: Any, over: Any) -> None:
    arrived.release()
    over.wait(PATIENCE_S)


def threads(count: int, tries: int) -> dict[str, float]:
    """Threads; where the machine allows fewer, as many as it allows."""
    took, alive, grew = [], count, 0.0
    for number in range(tries):
        arrived, over = threading.Semaphore(0), threading.Event()
        members = [threading.Thread(target=arrive, args=(arrived, over), daemon=True) for _ in range(alive)]
        before = _own_bytes()
        started = []
        began = time.perf_counter()
        with contextlib.suppress(RuntimeError):  # "can't start new thread"
            for member in members:
                member.start()
                started.append(member)
        for _ in started:
            arrived.acquire()
        took.append(time.perf_counter() - began)
        # Later tries find the stacks of earlier ones still there.
        if number == 0:
            alive = len(started)
            grew = (_own_bytes() - before) / max(1, alive)
        over.set()
        for member in started:
            member.join()
    return {"alive": alive, "one_us": min(took) / max(1, alive) * 1e6, "one_kib": grew / 1024}


def greenlets(count: int, tries: int) -> dict[str, float]:
    """Greenlets of gevent, all in one thread."""
    import gevent
    from gevent.event import Event
    from gevent.lock import Semaphore

    gevent.spawn(arrive, Semaphore(0), Event()).kill()  # what gevent itself needs is not a greenlet's cost
    took, grew = [], 0.0
    for number in range(tries):
        arrived, over = Semaphore(0), Event()
        before = _own_bytes()
        began = time.perf_counter()
        members = [gevent.spawn(arrive, arrived, over) for _ in range(count)]
        for _ in members:
            arrived.acquire()
        took.append(time.perf_counter() - began)
        if number == 0:
            grew = (_own_bytes() - before) / count
        over.set()
        gevent.joinall(members)
    return {"alive": count, "one_us": min(took) / count * 1e6, "one_kib": grew / 1024}


def _own_bytes(pid: int | None = None) -> int:
    """The memory of a process that no other one shares; where that is not told, all that it has in memory."""
    process = psutil.Process(pid)
    try:
        return int(process.memory_full_info().uss)
    except (psutil.AccessDenied, AttributeError):
        return int(process.memory_info().rss)
