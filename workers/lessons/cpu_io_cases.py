"""What ``cpu-io`` measures, each case in a fresh interpreter: the same tasks, by one execution model."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

from workers.lessons.children import Crew
from workers.lessons.computing import Piece, compute, computing_at_once, digest, most_at_once

PATIENCE_S = 30.0


def wait(milliseconds: int) -> list[Piece]:
    """Wait as for a disk or a network: no core is needed. Looked up late, so that gevent's patch is seen."""
    began = time.monotonic()
    time.sleep(milliseconds / 1e3)
    return [Piece(began, time.monotonic(), 0.0)]


Work = Callable[[int], list[Piece]]
WORKS: dict[str, Work] = {"computing": compute, "computing in C": digest, "waiting": wait}


def measure(
    model: str, cores: int | None, amounts: dict[str, int], settings: dict[str, Any]
) -> dict[str, list[dict[str, float]]]:
    """Each kind of work, tried several times on so many cores: how long it took and how much was done at once."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    found: dict[str, list[dict[str, float]]] = {}
    for kind, amount in amounts.items():
        found[kind] = []
        for _ in range(settings["tries"]):
            cpu = _cpu_s()
            began = time.perf_counter()
            starting_s, pieces = _by(model, WORKS[kind], amount, settings["tasks"], settings["start_method"])
            whole_s = time.perf_counter() - began
            at_once = computing_at_once(pieces) if kind == "computing" else most_at_once(each[:2] for each in pieces)
            found[kind].append(
                {"whole_s": whole_s, "starting_s": starting_s, "cpu_s": _cpu_s() - cpu, "at_once": at_once}
            )
    return found


def _by(model: str, work: Work, amount: int, tasks: int, method: str) -> tuple[float, list[Piece]]:
    """Do the tasks; returns the seconds until all could begin, and the pieces of all."""
    began = time.perf_counter()
    starting_s = 0.0
    pieces: list[Piece] = []

    def do() -> None:
        pieces.extend(work(amount))

    if model == "processes":
        with Crew(method) as crew:
            # They begin together, so that what starting them costs can be told from what they do.
            ready, results = crew.context.Barrier(tasks + 1), crew.context.SimpleQueue()
            for _ in range(tasks):
                crew.start(begin_together, ready, results, work, amount)
            ready.wait(PATIENCE_S)
            starting_s = time.perf_counter() - began
            for _ in range(tasks):
                pieces += results.get()
            if not crew.join(PATIENCE_S):
                raise RuntimeError("a process did not end")
    elif model == "threads":
        threads = [threading.Thread(target=do, daemon=True) for _ in range(tasks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    elif model == "greenlets":
        import gevent

        gevent.joinall([gevent.spawn(do) for _ in range(tasks)], raise_error=True)
    else:
        for _ in range(tasks):
            do()
    return starting_s, pieces


def begin_together(ready: Any, results: Any, work: Work, amount: int) -> None:
    ready.wait(PATIENCE_S)
    results.put(work(amount))


def _cpu_s() -> float:
    """Seconds of CPU that this process and its ended children have used."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def stop_the_clock(kind: str, count: int, wait_ms: int, method: str) -> list[list[float]]:
    """Start so many that wait, and stop the clock twice: once all are started, and once all have been joined.

    Returns [seconds, how many had finished] for either.
    """
    stops = []
    with Crew(method) as crew:
        finished = crew.context.Value("i", 0)
        threads = [threading.Thread(target=_finish, args=(finished, wait_ms), daemon=True) for _ in range(count)]
        began = time.perf_counter()
        for thread in threads:
            if kind == "threads":
                thread.start()
            else:
                crew.start(_finish, finished, wait_ms)
        stops.append([time.perf_counter() - began, finished.value])
        for one in threads if kind == "threads" else crew.members:
            one.join(PATIENCE_S)
        stops.append([time.perf_counter() - began, finished.value])
    return stops


def _finish(finished: Any, wait_ms: int) -> None:
    wait(wait_ms)
    with finished.get_lock():
        finished.value += 1
