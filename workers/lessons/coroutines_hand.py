"""Coroutines by hand: generators that keep their state, and a loop that switches between them. No library at all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Coroutine = Generator[float, None, Result]
"""Yields for how many seconds it wants to wait; is resumed after them, with all its variables as they were."""

Note = Callable[[str, str], None]
"""Told who ("short" or "long") does what ("begins" or "ends")."""


def switch_between(coroutines: dict[str, Coroutine[Result]]) -> tuple[dict[str, Result], int]:
    """Run them all in this thread; returns what each returned, and how often one was resumed.

    The whole trick: whoever waits gives the thread back by ``yield``, and the loop sleeps only when all wait.
    """
    results: dict[str, Result] = {}
    # Beside the time each entry has a number, so that those that are due at once keep their order.
    order = itertools.count()
    waiting = [(time.monotonic(), next(order), name) for name in coroutines]
    resumed = 0
    while waiting:
        due, _, name = heapq.heappop(waiting)
        time.sleep(max(0.0, due - time.monotonic()))
        resumed += 1
        try:
            wants_s = next(coroutines[name])
        except StopIteration as stop:
            results[name] = stop.value
        else:
            heapq.heappush(waiting, (time.monotonic() + wants_s, next(order), name))
    return results, resumed


def add_up(name: str, last: int, note: Callable[[str, int, int], None]) -> Coroutine[int]:
    """Add 1 to ``last``, one number at each turn. ``total`` and ``number`` are the state that survives the switch."""
    total = 0
    for number in range(1, last + 1):
        total += number
        note(name, number, total)
        yield 0.0
    return total


def two_waits_by_hand(waits: dict[str, float], note: Note) -> None:
    def one_wait(name: str) -> Coroutine[None]:
        note(name, "begins")
        yield waits[name]
        note(name, "ends")

    switch_between({name: one_wait(name) for name in waits})


def two_waits_in_turn(waits: dict[str, float], note: Note) -> None:
    for name, lasts_s in waits.items():
        note(name, "begins")
        time.sleep(lasts_s)
        note(name, "ends")


def two_waits_by_asyncio(waits: dict[str, float], note: Note) -> None:
    async def one_wait(name: str) -> None:
        note(name, "begins")
        await asyncio.sleep(waits[name])
        note(name, "ends")

    async def both() -> None:
        await asyncio.gather(*(one_wait(name) for name in waits))

    asyncio.run(both())


def hand_over_by_generators(times: int) -> float:
    """Seconds for so many switches between two generators."""

    def turn() -> Generator[None, None, None]:
        while True:
            yield

    one, other = turn(), turn()
    began = time.perf_counter()
    for _ in range(times // 2):
        next(one)
        next(other)
    return time.perf_counter() - began


def hand_over_by_threads(times: int) -> float:
    """Seconds for so many switches between two threads, each of which waits until the other one lets it go on."""
    turns = threading.Semaphore(0), threading.Semaphore(0)

    def take_turns(mine: threading.Semaphore, others: threading.Semaphore) -> None:
        for _ in range(times // 2):
            mine.acquire()
            others.release()

    threads = [threading.Thread(target=take_turns, args=pair, daemon=True) for pair in (turns, turns[::-1])]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    turns[0].release()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began
