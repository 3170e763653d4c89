"""Shared data or copies: threads, forked processes and spawned processes take from the same number."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from workers.lessons.common.processes import PATIENCE_S, ProcessGroup, running


class Stock:
    """The number of tickets that are left to sell."""

    def __init__(self, left: int) -> None:
        self.left = left


BY_THE_FILE = 1000
stock = Stock(BY_THE_FILE)
_taking = threading.Lock()


@dataclass(frozen=True, slots=True)
class Taken:
    """One taker: its process, its thread, and the number that it found."""

    process: int
    thread: int
    found: int


@dataclass(frozen=True, slots=True)
class Takers:
    """All takers of one kind, and the number that the main thread has in the end."""

    taken: Sequence[Taken]
    main_has: int

    @property
    def processes(self) -> int:
        return len({each.process for each in self.taken})

    @property
    def threads(self) -> int:
        return len({(each.process, each.thread) for each in self.taken})

    @property
    def found(self) -> list[int]:
        return sorted({each.found for each in self.taken}, reverse=True)


def take_one() -> Taken:
    """Takes one ticket, in the memory of the process that calls this."""
    with _taking:
        found = stock.left
        stock.left = found - 1
    return Taken(os.getpid(), threading.get_native_id(), found)


def by_threads(count: int, left: int) -> tuple[Takers, int]:
    """Threads of this process take one each. Also returns the number of threads that were alive meanwhile."""
    stock.left = left
    taken: list[Taken] = []
    all_here, may_go = threading.Barrier(count + 1), threading.Event()

    def work() -> None:
        taken.append(take_one())
        with contextlib.suppress(threading.BrokenBarrierError):
            all_here.wait(PATIENCE_S)
            may_go.wait(PATIENCE_S)

    members = [threading.Thread(target=work, name=f"taker-{number}", daemon=True) for number in range(1, count + 1)]
    try:
        with running(members, all_here.abort, may_go.set):
            all_here.wait(PATIENCE_S)
            alive = threading.active_count()
        return Takers(taken, stock.left), alive
    finally:
        stock.left = BY_THE_FILE


def by_processes(method: str, count: int, left: int) -> Takers:
    """Processes take one each from what they have; each sends back what it found."""
    stock.left = left
    try:
        with ProcessGroup(method) as group:
            for _ in range(count):
                group.submit(take_one)
            taken = group.results()
            group.join()
        return Takers(taken, stock.left)
    finally:
        stock.left = BY_THE_FILE
