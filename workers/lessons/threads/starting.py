"""Starting a thread and waiting for it: three ways to start, with and without a join, and an exception inside."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from workers.lessons.common.figures import Span

# The time a task waits for its caller to go on. A task in the caller's own thread waits in vain.
_CALLER_S = 0.2


@dataclass(slots=True)
class RanIn:
    """The thread and process in which a task ran, noted by the task."""

    went_on: threading.Event
    thread: int = 0
    name: str = ""
    process: int = 0
    caller_went_on: bool = False

    def note(self) -> None:
        self.thread, self.name, self.process = threading.get_ident(), threading.current_thread().name, os.getpid()
        self.caller_went_on = self.went_on.wait(_CALLER_S)


class NotingThread(threading.Thread):
    """A thread as a class: ``start`` starts it, and the thread calls ``run``."""

    def __init__(self, place: RanIn) -> None:
        super().__init__(name="by-class", daemon=True)
        self._place = place

    def run(self) -> None:
        self._place.note()


def by_function() -> RanIn:
    return _begin(lambda place: threading.Thread(target=place.note, name="by-function", daemon=True))


def by_class() -> RanIn:
    return _begin(NotingThread)


def by_mistake() -> RanIn:
    """``run`` called instead of ``start``: an ordinary call, and no thread."""
    return _begin(NotingThread, lambda thread: thread.run())


def _begin(
    create: Callable[[RanIn], threading.Thread], begin: Callable[[threading.Thread], None] = threading.Thread.start
) -> RanIn:
    place = RanIn(threading.Event())
    thread = create(place)
    begin(thread)
    place.went_on.set()
    if thread.ident is not None:
        thread.join()
    return place


WAYS: dict[str, Callable[[], RanIn]] = {
    "a function, start()": by_function,
    "a class, start()": by_class,
    "a class, run() by mistake": by_mistake,
}


def go_on(count: int, work_s: float, *, join: bool) -> tuple[int, dict[str, list[Span]]]:
    """Starts threads, joins them or not, and counts those that are done. Also returns a lane for each thread."""
    done: list[int] = []
    lanes: dict[str, list[Span]] = {"main": [], **{f"thread {number:>2}": [] for number in range(1, count + 1)}}
    began = time.perf_counter()

    def clock() -> float:
        return time.perf_counter() - began

    def work(number: int) -> None:
        came = clock()
        time.sleep(work_s)
        done.append(number)
        lanes[f"thread {number:>2}"].append(Span(came, clock(), "works"))

    members = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(1, count + 1)]
    for member in members:
        member.start()
    started = clock()
    lanes["main"].append(Span(0, started, style="faint"))
    if join:
        for member in members:
            member.join()
        lanes["main"].append(Span(started, clock(), style="wait"))
    looked = clock()
    found = len(done)
    time.sleep(work_s / 3)
    lanes["main"].append(Span(looked, clock(), "goes on", "good" if found == count else "bad"))
    for member in members:
        member.join()
    return found, lanes


class TaskFailed(Exception):
    """The error that is raised in the thread."""


def fail_in_thread() -> tuple[bool, bool]:
    """A thread raises and is joined. Returns whether the caller of ``join`` learned of it, and whether the hook did."""
    noted: list[Any] = []
    before = threading.excepthook
    threading.excepthook = noted.append
    try:
        thread = threading.Thread(target=_refuse, daemon=True)
        thread.start()
        try:
            thread.join()
        except TaskFailed:
            return True, bool(noted)
        return False, bool(noted)
    finally:
        threading.excepthook = before


def fail_in_future() -> tuple[bool, bool]:
    """The same task in a pool, whose future is asked for the result."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_refuse)
        try:
            future.result()
        except TaskFailed:
            return True, False
        return False, False


def _refuse() -> None:
    raise TaskFailed
