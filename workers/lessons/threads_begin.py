"""Beginning a thread and waiting for it: ways to begin, with and without a join, and an exception inside."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from workers.lessons.form import Span

# How long a task waits for its caller to go on; one that runs in the caller's thread waits for nothing.
_CALLER_S = 0.2


@dataclass(slots=True)
class Place:
    """Where a task ran, noted by itself."""

    went_on: threading.Event
    thread: int = 0
    name: str = ""
    process: int = 0
    caller_went_on: bool = False

    def note(self) -> None:
        self.thread, self.name, self.process = threading.get_ident(), threading.current_thread().name, os.getpid()
        self.caller_went_on = self.went_on.wait(_CALLER_S)


class Noting(threading.Thread):
    """A thread by its class: ``start`` begins it, and it runs ``run``."""

    def __init__(self, place: Place) -> None:
        super().__init__(name="by-class", daemon=True)
        self._place = place

    def run(self) -> None:
        self._place.note()


def by_function() -> Place:
    place = Place(threading.Event())
    thread = threading.Thread(target=place.note, name="by-function", daemon=True)
    thread.start()
    place.went_on.set()
    thread.join()
    return place


def by_class() -> Place:
    place = Place(threading.Event())
    thread = Noting(place)
    thread.start()
    place.went_on.set()
    thread.join()
    return place


def by_mistake() -> Place:
    """``run`` called instead of ``start``: an ordinary call, and no thread."""
    place = Place(threading.Event())
    Noting(place).run()
    place.went_on.set()
    return place


WAYS: dict[str, Callable[[], Place]] = {
    "a function, start()": by_function,
    "a class, start()": by_class,
    "a class, run() by mistake": by_mistake,
}


def go_on(count: int, work_s: float, *, join: bool) -> tuple[int, dict[str, list[Span]]]:
    """Start so many threads, join them or not, and look at what they have done; and who did what when."""
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
    lanes["main"].append(Span(0, started, mood="faint"))
    if join:
        for member in members:
            member.join()
        lanes["main"].append(Span(started, clock(), mood="wait"))
    looked = clock()
    found = len(done)
    time.sleep(work_s / 3)
    lanes["main"].append(Span(looked, clock(), "goes on", "good" if found == count else "bad"))
    for member in members:
        member.join()
    return found, lanes


class Refused(Exception):
    """What goes wrong in a thread."""


def fail_in_thread() -> tuple[bool, bool]:
    """A thread that raises, joined: whether the one who joins learned of it, and whether the thread's hook did."""
    told: list[Any] = []
    before = threading.excepthook
    threading.excepthook = told.append
    try:
        thread = threading.Thread(target=_refuse, daemon=True)
        thread.start()
        try:
            thread.join()
        except Refused:
            return True, bool(told)
        return False, bool(told)
    finally:
        threading.excepthook = before


def fail_in_future() -> tuple[bool, bool]:
    """The same task in a pool, asked for its result."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_refuse)
        try:
            future.result()
        except Refused:
            return True, False
        return False, False


def _refuse() -> None:
    raise Refused
