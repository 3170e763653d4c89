"""The same jobs, spread over processes, threads and greenlets; timed, and counted at every moment."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from workers.lessons.common.computing import Piece, compute, computing_at_once, digest, most_at_once
from workers.lessons.common.processes import PATIENCE_S, ProcessGroup, start_and_join
from workers.lessons.common.resources import own_cpu_s

Sleep = Callable[[float], None]
Done = tuple[int, str, Piece]
"""The job's number, "wait" or "compute", and when."""


class Shape(NamedTuple):
    """The number of processes, of threads in each, and of greenlets in each thread."""

    processes: int = 1
    threads: int = 1
    greenlets: int = 1


class Work(NamedTuple):
    """A job: it waits, then computes in Python, then hashes in C; as often as there are rounds."""

    jobs: int
    rounds: int = 1
    wait_ms: float = 0.0
    steps: int = 0
    blocks: int = 0

    def do(self, number: int, sleep: Sleep, done: list[Done]) -> None:
        for _ in range(self.rounds):
            if self.wait_ms:
                began = time.monotonic()
                sleep(self.wait_ms / 1e3)
                done.append((number, "wait", Piece(began, time.monotonic(), 0.0)))
            done += [(number, "compute", piece) for piece in compute(self.steps)]
            digest(self.blocks)


class Runs(list[dict[str, Any]]):
    """Several runs of the same work on the same shape. The shortest counts: other programs disturbed it least."""

    def shortest(self, what: str) -> float:
        return min(float(run[what]) for run in self)

    def most(self, what: str) -> int:
        return max(int(run[what]) for run in self)

    @property
    def cores_busy(self) -> float:
        """Seconds of CPU used in a second, from the start until all processes and threads have been joined."""
        return max(float(run["cpu_s"] / run["whole_s"]) for run in self)


def measure(
    shape: Sequence[int], works: Mapping[str, Sequence[Any]], tries: int, method: str, cores: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    """In a fresh interpreter: runs each work (the fields of ``Work``) ``tries`` times on ``shape``."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    _import_gevent(Shape(*shape))
    return {name: [_run(Shape(*shape), Work(*work), method) for _ in range(tries)] for name, work in works.items()}


def _run(shape: Shape, work: Work, method: str) -> dict[str, Any]:
    """The jobs begin when all processes are there: the time that starting them takes is measured separately."""
    numbers = range(work.jobs)
    cpu_s = own_cpu_s()
    began = started = time.monotonic()
    if shape.processes == 1:
        done = _in_threads(numbers, shape, work)
    else:
        with ProcessGroup(method) as group:
            ready = group.context.Barrier(shape.processes + 1)
            for number in range(shape.processes):
                group.submit(_in_process, ready, numbers[number :: shape.processes], shape, work)
            ready.wait(PATIENCE_S)
            started = time.monotonic()
            done = [each for share in group.results() for each in share]
            if not group.join():
                raise RuntimeError("a process did not end")
    joined = time.monotonic()
    waits = [piece[:2] for _, what, piece in done if what == "wait"]
    return {
        "done": sorted([number, what, piece.start_s - started, piece.end_s - started] for number, what, piece in done),
        "starting_s": started - began,
        "took_s": max((piece.end_s for *_, piece in done), default=joined) - started,
        "whole_s": joined - began,
        "cpu_s": own_cpu_s() - cpu_s,
        "waiting_at_once": most_at_once(waits),
        "computing_at_once": computing_at_once(piece for _, what, piece in done if what == "compute"),
    }


def _in_process(ready: Any, numbers: Sequence[int], shape: Shape, work: Work) -> list[Done]:
    _import_gevent(shape)
    ready.wait(PATIENCE_S)
    return _in_threads(numbers, shape, work)


def _import_gevent(shape: Shape) -> None:
    """Imports gevent where it will be used, before the clock runs."""
    if shape.greenlets > 1:
        importlib.import_module("gevent.pool")


def _in_threads(numbers: Sequence[int], shape: Shape, work: Work) -> list[Done]:
    """Deals the jobs out to the threads of this process; a single thread is the current one."""
    done: list[Done] = []
    if shape.threads == 1:
        _in_greenlets(numbers, shape.greenlets, work, done)
        return done
    start_and_join(
        threading.Thread(
            target=_in_greenlets, args=(numbers[number :: shape.threads], shape.greenlets, work, done), daemon=True
        )
        for number in range(min(shape.threads, len(numbers)))
    )
    return done


def _in_greenlets(numbers: Sequence[int], greenlets: int, work: Work, done: list[Done]) -> None:
    """Does the jobs in greenlets of this thread; with one, one after another without any.

    It calls gevent's own sleep, without the monkey patch: patched threads would be greenlets themselves.
    """
    if greenlets == 1:
        for number in numbers:
            work.do(number, time.sleep, done)
        return
    import gevent
    from gevent.pool import Pool

    pool = Pool(greenlets)
    for number in numbers:
        pool.spawn(work.do, number, gevent.sleep, done)
    pool.join(raise_error=True)
    if threading.current_thread() is not threading.main_thread():
        gevent.get_hub().destroy(destroy_loop=True)
