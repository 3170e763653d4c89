"""The costs of starting and keeping processes, threads and greenlets. Each function runs in a fresh interpreter.

The time runs from the first start until the last one runs. The memory of a process is what it does not share with
another (pages that it shares with its parent after a fork do not count). The memory of threads and greenlets is the
growth of their process.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from typing import Any

from workers.lessons.common.processes import PATIENCE_S, ProcessGroup
from workers.lessons.common.resources import private_bytes


def processes(count: int, tries: int, method: str) -> dict[str, float]:
    """Processes started by ``fork`` or ``spawn``; memory is the average of one."""
    took, own = [], 0.0
    for _ in range(tries):
        with ProcessGroup(method) as group:
            arrived, over = group.context.Semaphore(0), group.context.Event()
            began = time.perf_counter()
            for _ in range(count):
                group.start(arrive, arrived, over)
            for _ in range(count):
                if not arrived.acquire(timeout=PATIENCE_S):
                    raise TimeoutError("a process did not start")
            took.append(time.perf_counter() - began)
            own = sum(private_bytes(member.pid) for member in group.members) / count
            over.set()
            group.join()
    return {"alive": count, "one_us": min(took) / count * 1e6, "one_kib": own / 1024}


def arrive(arrived: Any, over: Any) -> None:
    arrived.release()
    over.wait(PATIENCE_S)


def threads(count: int, tries: int) -> dict[str, float]:
    """Threads; fewer than ``count`` if the machine does not allow so many."""

    def thread(*arguments: Any) -> threading.Thread:
        return threading.Thread(target=arrive, args=arguments, daemon=True)

    return _in_this_process(count, tries, thread, threading.Semaphore, threading.Event)


def greenlets(count: int, tries: int) -> dict[str, float]:
    """Greenlets of gevent, all in one thread."""
    import gevent
    from gevent.event import Event
    from gevent.lock import Semaphore

    gevent.spawn(arrive, Semaphore(0), Event()).kill()  # what gevent itself needs is not a greenlet's cost
    return _in_this_process(count, tries, functools.partial(gevent.Greenlet, arrive), Semaphore, Event)


def _in_this_process(count: int, tries: int, create: Any, semaphore: Any, event: Any) -> dict[str, float]:
    took, alive, grew = [], count, 0.0
    for number in range(tries):
        arrived, over = semaphore(0), event()
        before = private_bytes()
        started = []
        began = time.perf_counter()
        with contextlib.suppress(RuntimeError):  # "can't start new thread"
            for _ in range(alive):
                member = create(arrived, over)
                member.start()
                started.append(member)
        for _ in started:
            arrived.acquire()
        took.append(time.perf_counter() - began)
        # Later tries find the stacks of earlier ones still there.
        if number == 0:
            alive = len(started)
            grew = (private_bytes() - before) / max(1, alive)
        over.set()
        for member in started:
            member.join()
    return {"alive": alive, "one_us": min(took) / max(1, alive) * 1e6, "one_kib": grew / 1024}
