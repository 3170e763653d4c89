"""A clock that is stopped too early: after starting threads or processes, and after joining them."""

from __future__ import annotations

import threading
import time
from typing import Any

from workers.lessons.common.processes import PATIENCE_S, ProcessGroup


def stop_the_clock(kind: str, count: int, wait_ms: int, method: str) -> list[list[float]]:
    """Starts threads or processes that wait, and stops the clock twice: after starting all, and after joining all.

    Returns [seconds, number of finished ones] for either.
    """
    stops = []
    with ProcessGroup(method) as group:
        finished = group.context.Value("i", 0)
        threads = [threading.Thread(target=_finish, args=(finished, wait_ms), daemon=True) for _ in range(count)]
        began = time.perf_counter()
        for thread in threads:
            if kind == "threads":
                thread.start()
            else:
                group.start(_finish, finished, wait_ms)
        stops.append([time.perf_counter() - began, finished.value])
        for one in threads if kind == "threads" else group.members:
            one.join(PATIENCE_S)
        stops.append([time.perf_counter() - began, finished.value])
    return stops


def _finish(finished: Any, wait_ms: int) -> None:
    time.sleep(wait_ms / 1e3)
    with finished.get_lock():
        finished.value += 1
