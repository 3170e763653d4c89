"""Four ways to take two locks: each its own order, one order for all, a time-out, a try."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from workers.lessons.deadlock_locks import Board, GaveUp, WatchedLock
from workers.lessons.form import Span

_LOOK_S = 0.002
_AT_MOST_S = 25.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What all ways have in common. Thread n needs lock n and the next one; the last needs the first again."""

    threads: int
    rounds: int
    hold_s: float
    """How long a thread has its first lock before it asks for the second."""
    stuck_s: float
    """How long a circle is watched, whether it does not end by itself, before one is told to give up."""
    timeout_s: float


@dataclass(slots=True)
class Report:
    """What became of a way."""

    circles: int = 0
    """How many circles were seen in the wait-for graph."""
    first_circle: list[str] = field(default_factory=list)
    finished: int = 0
    gave_up: int = 0
    stepped_back: int = 0
    took_s: float = 0.0
    lanes: dict[str, list[Span]] = field(default_factory=dict)
    round_starts_s: list[float] = field(default_factory=list)


class Worker:
    """One thread of a way: takes its two locks in each round, and notes how it went."""

    def __init__(self, number: int, plan: Plan, locks: list[WatchedLock], began: float) -> None:
        self.first, self.second = locks[number], locks[(number + 1) % len(locks)]
        self.low, self.high = sorted((self.first, self.second), key=lambda lock: lock.name)
        self._plan = plan
        self._began = began
        self._chance = random.Random(number)
        self.spans: list[Span] = []
        self.round_starts_s: list[float] = []
        self.finished = self.gave_up = self.stepped_back = 0

    def clock(self) -> float:
        return time.perf_counter() - self._began

    def take_both(self, first: WatchedLock, second: WatchedLock, timeout_s: float | None = None) -> bool:
        """Both locks, and then the work; False where the second was not had in time, and nothing is held then."""
        asked = self.clock()
        first.acquire()
        try:
            had_first = self.clock()
            self.spans.append(Span(asked, had_first, mood="wait"))
            time.sleep(self._plan.hold_s)
            wanted = self.clock()
            self.spans.append(Span(had_first, wanted, mood="faint"))
            try:
                had, stuck = second.acquire(timeout_s)
            except GaveUp:
                self.spans.append(Span(wanted, self.clock(), mood="bad"))
                raise
            self.spans.append(Span(wanted, self.clock(), mood="bad" if stuck else "wait"))
            if not had:
                return False
            try:
                had_both = self.clock()
                time.sleep(self._plan.hold_s)
                self.spans.append(Span(had_both, self.clock(), mood="good"))
            finally:
                second.release()
        finally:
            first.release()
        self.finished += 1
        return True

    def step_back(self) -> None:
        """Pause for a chance while: two that step back for equally long would meet again and again."""
        self.stepped_back += 1
        time.sleep(self._plan.hold_s * self._chance.uniform(0, 3))

    def own_order(self) -> None:
        self.take_both(self.first, self.second)

    def one_order(self) -> None:
        self.take_both(self.low, self.high)

    def with_timeout(self) -> None:
        while not self.take_both(self.first, self.second, self._plan.timeout_s):
            self.step_back()

    def with_try(self) -> None:
        while not self.take_both(self.first, self.second, 0):
            self.step_back()


OWN_ORDER, ONE_ORDER, TIMEOUT, TRY = "each its own order", "one order for all", "a time-out", "a try, no wait"
WAYS: dict[str, Callable[[Worker], None]] = {
    OWN_ORDER: Worker.own_order,
    ONE_ORDER: Worker.one_order,
    TIMEOUT: Worker.with_timeout,
    TRY: Worker.with_try,
}


def go(way: str, plan: Plan) -> Report:
    """Let all threads do their rounds; watched, so that those who are stuck are freed and the lesson goes on."""
    board, began = Board(), time.perf_counter()
    locks = [WatchedLock(f"lock {number}", board) for number in range(1, plan.threads + 1)]
    workers = {f"thread {number + 1}": Worker(number, plan, locks, began) for number in range(plan.threads)}
    together = threading.Barrier(plan.threads)

    def rounds(worker: Worker) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            for _ in range(plan.rounds):
                together.wait()
                worker.round_starts_s.append(worker.clock())
                try:
                    WAYS[way](worker)
                except GaveUp:
                    worker.gave_up += 1

    report = watch(
        {name: partial(rounds, worker) for name, worker in workers.items()},
        board,
        together,
        stuck_s=plan.stuck_s,
        tell=way == OWN_ORDER,
    )
    report.took_s = time.perf_counter() - began
    report.lanes = {name: worker.spans for name, worker in workers.items()}
    report.round_starts_s = workers["thread 1"].round_starts_s
    report.finished = sum(worker.finished for worker in workers.values())
    report.gave_up = sum(worker.gave_up for worker in workers.values())
    report.stepped_back = sum(worker.stepped_back for worker in workers.values())
    return report


def watch(
    jobs: Mapping[str, Callable[[], None]],
    board: Board,
    together: threading.Barrier | None = None,
    *,
    stuck_s: float,
    tell: bool,
) -> Report:
    """Run each job in a thread of that name, and look for circles until all have ended.

    A circle that is still the same after ``stuck_s`` is ended by telling one of its threads to give up, if ``tell``.
    """
    report = Report()
    threads = [threading.Thread(target=job, name=name, daemon=True) for name, job in jobs.items()]
    known: frozenset[int] = frozenset()
    since = 0.0
    deadline = time.monotonic() + _AT_MOST_S
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            circle, waits = board.circle()
            now = time.monotonic()
            if circle and waits != known:
                known, since = waits, now
                report.circles += 1
                report.first_circle = report.first_circle or circle
            elif circle and tell and now - since > stuck_s:
                board.tell(circle[0])
            time.sleep(_LOOK_S)
    finally:
        board.closed = True
        if together is not None:
            together.abort()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    return report


def twice(lock: threading.Lock | threading.RLock, stuck_s: float) -> Report:
    """One thread that takes the same lock twice."""
    board = Board()
    watched = WatchedLock("lock 1", board, lock)
    report = Report()

    def take_twice() -> None:
        watched.acquire()
        try:
            watched.acquire()
        except GaveUp:
            report.gave_up += 1
        else:
            report.finished += 1

    seen = watch({"thread 1": take_twice}, board, stuck_s=stuck_s, tell=True)
    report.circles = seen.circles
    return report
