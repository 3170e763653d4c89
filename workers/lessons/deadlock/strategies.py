"""Four strategies to take two locks: each thread its own order, one order for all, a time-out, a try."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from workers.lessons.common.figures import Span
from workers.lessons.common.processes import running
from workers.lessons.deadlock.locks import GaveUp, WaitForGraph, WatchedLock

OWN_ORDER, ONE_ORDER, TIMEOUT, TRY = "each its own order", "one order for all", "a time-out", "a try, no wait"
STRATEGIES = (OWN_ORDER, ONE_ORDER, TIMEOUT, TRY)
_LOOK_S = 0.002
_AT_MOST_S = 25.0


@dataclass(frozen=True, slots=True)
class RingSettings:
    """The settings of all strategies. Thread n needs lock n and the next one; the last needs the first again."""

    threads: int
    rounds: int
    hold_s: float
    """The time a thread has its first lock before it asks for the second."""
    stuck_s: float
    """The time a cycle is watched, to see that it does not end without help, before one thread is asked to give up."""
    timeout_s: float


@dataclass(slots=True)
class StrategyResult:
    """The outcome of a strategy, over all threads and rounds."""

    cycles: int = 0
    """The number of cycles that were seen in the wait-for graph."""
    first_cycle: list[str] = field(default_factory=list)
    finished: int = 0
    gave_up: int = 0
    stepped_back: int = 0
    took_ms: int = 0
    lanes: dict[str, list[Span]] = field(default_factory=dict)
    round_starts_s: list[float] = field(default_factory=list)


class LockingThread:
    """One thread: takes its two locks in each round, and notes what happened."""

    def __init__(self, number: int, settings: RingSettings, locks: list[WatchedLock], began: float) -> None:
        self._locks = [locks[number], locks[(number + 1) % len(locks)]]
        self._settings = settings
        self._began = began
        self._random = random.Random(number)
        self.spans: list[Span] = []
        self.round_starts_s: list[float] = []
        self.finished = self.gave_up = self.stepped_back = 0

    def do_round(self, strategy: str) -> None:
        """Raises ``GaveUp`` if the thread is asked to give up."""
        self.round_starts_s.append(self._now())
        locks = sorted(self._locks, key=lambda lock: lock.name) if strategy == ONE_ORDER else self._locks
        timeout_s = {TIMEOUT: self._settings.timeout_s, TRY: 0.0}.get(strategy)
        while not self._take_both(locks[0], locks[1], timeout_s):
            self.stepped_back += 1
            # The pause is random: two threads that step back equally long would meet again and again.
            time.sleep(self._settings.hold_s * self._random.uniform(0, 3))
        self.finished += 1

    def _now(self) -> float:
        return time.perf_counter() - self._began

    def _take_both(self, first: WatchedLock, second: WatchedLock, timeout_s: float | None) -> bool:
        """Takes both locks and works; False if the second was not acquired in time, and then no lock is held."""
        asked = self._now()
        first.acquire()
        try:
            had_first = self._now()
            self.spans.append(Span(asked, had_first, style="wait"))
            time.sleep(self._settings.hold_s)
            wanted = self._now()
            self.spans.append(Span(had_first, wanted, style="faint"))
            try:
                acquired, stuck = second.acquire(timeout_s)
            except GaveUp:
                self.spans.append(Span(wanted, self._now(), style="bad"))
                raise
            self.spans.append(Span(wanted, self._now(), style="bad" if stuck else "wait"))
            if not acquired:
                return False
            try:
                had_both = self._now()
                time.sleep(self._settings.hold_s)
                self.spans.append(Span(had_both, self._now(), style="good"))
            finally:
                second.release()
        finally:
            first.release()
        return True


def run_strategy(strategy: str, settings: RingSettings) -> StrategyResult:
    """All threads do their rounds. They are watched, so that stuck threads are freed and the lesson goes on."""
    graph, began = WaitForGraph(), time.perf_counter()
    locks = [WatchedLock(f"lock {number}", graph) for number in range(1, settings.threads + 1)]
    workers = {
        f"thread {number + 1}": LockingThread(number, settings, locks, began) for number in range(settings.threads)
    }
    together = threading.Barrier(settings.threads)

    def do_rounds(worker: LockingThread) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            for _ in range(settings.rounds):
                together.wait()
                try:
                    worker.do_round(strategy)
                except GaveUp:
                    worker.gave_up += 1

    jobs = {name: partial(do_rounds, worker) for name, worker in workers.items()}
    result = watch(jobs, graph, together, stuck_s=settings.stuck_s, break_cycles=strategy == OWN_ORDER)
    result.took_ms = round((time.perf_counter() - began) * 1e3)
    result.lanes = {name: worker.spans for name, worker in workers.items()}
    result.round_starts_s = workers["thread 1"].round_starts_s
    result.finished = sum(worker.finished for worker in workers.values())
    result.gave_up = sum(worker.gave_up for worker in workers.values())
    result.stepped_back = sum(worker.stepped_back for worker in workers.values())
    return result


def watch(
    jobs: Mapping[str, Callable[[], None]],
    graph: WaitForGraph,
    together: threading.Barrier | None = None,
    *,
    stuck_s: float,
    break_cycles: bool,
) -> StrategyResult:
    """Runs each job in a thread of that name, and looks for cycles until all have ended.

    With ``break_cycles`` a cycle that is still the same after ``stuck_s`` is broken: one of its threads must give up.
    """
    result = StrategyResult()
    threads = [threading.Thread(target=job, name=name, daemon=True) for name, job in jobs.items()]
    known: frozenset[int] = frozenset()
    since = 0.0
    deadline = time.monotonic() + _AT_MOST_S
    with running(threads, graph.close, *([] if together is None else [together.abort])):
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            cycle, waits = graph.cycle()
            now = time.monotonic()
            if cycle and waits != known:
                known, since = waits, now
                result.cycles += 1
                result.first_cycle = result.first_cycle or cycle
            elif cycle and break_cycles and now - since > stuck_s:
                graph.ask_to_give_up(cycle[0])
            time.sleep(_LOOK_S)
    return result


def lock_twice(lock: threading.Lock | threading.RLock, stuck_s: float) -> StrategyResult:
    """One thread takes the same lock twice."""
    graph = WaitForGraph()
    watched = WatchedLock("lock 1", graph, lock)
    taken = []

    def take_twice() -> None:
        with contextlib.suppress(GaveUp):
            for number in range(2):
                watched.acquire()
                taken.append(number)

    result = watch({"thread 1": take_twice}, graph, stuck_s=stuck_s, break_cycles=True)
    result.finished = int(len(taken) == 2)
    result.gave_up = 1 - result.finished
    return result
