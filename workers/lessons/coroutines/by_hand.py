"""Coroutines by hand: generators that keep their state, and a loop that switches between them. No library at all."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
Coroutine = Generator[float, None, Result]
"""Yields the seconds that it wants to wait; it is resumed after them, with all its variables as they were."""

Note = Callable[[str, str], None]
"""Called with the name of a wait ("short" or "long") and its event ("begins" or "ends")."""


def noted(
    way: Callable[[dict[str, float], Note], None],
    waits: dict[str, float],
    thread_id: Callable[[], int] = threading.get_ident,
) -> dict[str, Any]:
    """Waits in one way; returns the beginnings and ends in their order, and the number of threads."""
    notes: list[Sequence[Any]] = []
    threads = set()
    began = time.perf_counter()

    def note(name: str, event: str) -> None:
        notes.append((name, event, time.perf_counter() - began))
        threads.add(thread_id())

    way(waits, note)
    return {"notes": notes, "threads": len(threads)}


def switch_between(coroutines: dict[str, Coroutine[Result]]) -> tuple[dict[str, Result], int]:
    """Runs all of them in this thread; returns the result of each, and the number of resumptions.

    A coroutine that waits gives the thread back by ``yield``; the loop sleeps only when all of them wait.
    """
    results: dict[str, Result] = {}
    # Each entry has a number beside its time, so that coroutines that are due at once keep their order.
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
    """Adds the numbers 1 to ``last``, one at each turn. ``total`` and ``number`` survive the switches."""
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


def one_wait(name: str, lasts_s: float, note: Note) -> None:
    note(name, "begins")
    time.sleep(lasts_s)
    note(name, "ends")


def two_waits_in_turn(waits: dict[str, float], note: Note) -> None:
    for name, lasts_s in waits.items():
        one_wait(name, lasts_s, note)


def two_waits_by_asyncio(waits: dict[str, float], note: Note) -> None:
    import asyncio

    async def one_wait(name: str) -> None:
        note(name, "begins")
        await asyncio.sleep(waits[name])
        note(name, "ends")

    async def both() -> None:
        await asyncio.gather(*(one_wait(name) for name in waits))

    asyncio.run(both())


def hand_over_by_generators(times: int) -> float:
    """Seconds for ``times`` switches between two generators."""

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
    """Seconds for ``times`` switches between two threads; each waits until the other one lets it go on."""
    turns = threading.Semaphore(0), threading.Semaphore(0)

    def switch(mine: threading.Semaphore, others: threading.Semaphore) -> None:
        for _ in range(times // 2):
            mine.acquire()
            others.release()

    threads = [threading.Thread(target=switch, args=pair, daemon=True) for pair in (turns, turns[::-1])]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    turns[0].release()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began
