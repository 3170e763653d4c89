"""What ``hybrid`` runs in a fresh interpreter: the same jobs, spread over processes, threads and greenlets."""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from workers.lessons.children import Crew
from workers.lessons.computing import Piece, compute, computing_at_once, most_at_once

PATIENCE_S = 30.0
Sleep = Callable[[float], None]
Done = tuple[int, str, Piece]
"""Which job, "wait" or "compute", and when."""


class Jobs:
    """Jobs that wait and then compute, several times over; each notes what it did when."""

    def __init__(self, work: dict[str, Any]) -> None:
        self._rounds, self._wait_s, self._steps = work["rounds"], work["wait_ms"] / 1e3, work["steps"]
        self.done: list[Done] = []

    def do(self, number: int, sleep: Sleep) -> None:
        for _ in range(self._rounds):
            began = time.monotonic()
            sleep(self._wait_s)
            self.done.append((number, "wait", Piece(began, time.monotonic(), 0.0)))
            self.done += [(number, "compute", piece) for piece in compute(self._steps)]


def measure(
    shape: Sequence[int], works: dict[str, dict[str, Any]], tries: int, method: str
) -> dict[str, list[dict[str, Any]]]:
    """Each kind of work, so many times, spread over ``shape``: processes, threads of each, greenlets of each thread."""
    _prepare(shape[2])
    return {kind: [_run(shape, work, method) for _ in range(tries)] for kind, work in works.items()}


def _run(shape: Sequence[int], work: dict[str, Any], method: str) -> dict[str, Any]:
    """The jobs begin when all processes are there: what starting them costs is measured by itself."""
    processes, threads, greenlets = shape
    numbers = list(range(work["jobs"]))
    cpu = _cpu_s()
    began = time.monotonic()
    if processes == 1:
        done = in_threads(numbers, threads, greenlets, work)
        return _found(done, began, began, _cpu_s() - cpu)
    context = multiprocessing.get_context(method)
    results, ready = context.SimpleQueue(), context.Barrier(processes + 1)
    with Crew(method) as crew:
        for number in range(processes):
            crew.start(in_process, results, ready, numbers[number::processes], threads, greenlets, work)
        ready.wait(PATIENCE_S)
        started = time.monotonic()
        done = [each for _ in range(processes) for each in results.get()]
        if not crew.join(PATIENCE_S):
            raise RuntimeError("a process did not end")
    return _found(done, began, started, _cpu_s() - cpu)


def in_process(results: Any, ready: Any, *share: Any) -> None:
    """One process's share: numbers, threads, greenlets, work."""
    _prepare(share[2])
    ready.wait(PATIENCE_S)
    results.put(in_threads(*share))


def _prepare(greenlets: int) -> None:
    """Import gevent where it will be used, before the clock runs."""
    if greenlets > 1:
        importlib.import_module("gevent.pool")


def in_threads(numbers: Sequence[int], threads: int, greenlets: int, work: dict[str, Any]) -> list[Done]:
    """Deal the numbers out to so many threads of this process; with one, this thread does them itself."""
    jobs = Jobs(work)
    if threads == 1:
        in_greenlets(jobs, numbers, greenlets)
        return jobs.done
    crew = [
        threading.Thread(target=in_greenlets, args=(jobs, numbers[number::threads], greenlets), daemon=True)
        for number in range(min(threads, len(numbers)))
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return jobs.done


def in_greenlets(jobs: Jobs, numbers: Sequence[int], greenlets: int) -> None:
    """Do the numbers in so many greenlets of this thread; with one, one after another without any.

    gevent's own sleep instead of the patch: patched threads would be greenlets themselves. Each thread has a hub.
    """
    if greenlets == 1:
        for number in numbers:
            jobs.do(number, time.sleep)
        return
    import gevent
    from gevent.pool import Pool

    pool = Pool(greenlets)
    for number in numbers:
        pool.spawn(jobs.do, number, gevent.sleep)
    pool.join(raise_error=True)
    if threading.current_thread() is not threading.main_thread():
        gevent.get_hub().destroy(destroy_loop=True)


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _found(done: list[Done], began: float, started: float, cpu_s: float) -> dict[str, Any]:
    ended = max(piece.end_s for *_, piece in done)
    waits = [piece[:2] for _, what, piece in done if what == "wait"]
    return {
        "done": sorted([number, what, piece.start_s - started, piece.end_s - started] for number, what, piece in done),
        "starting_s": started - began,
        "took_s": ended - started,
        "cpu_s": cpu_s,
        "waiting_at_once": most_at_once(waits),
        "computing_at_once": computing_at_once(piece for _, what, piece in done if what == "compute"),
    }
