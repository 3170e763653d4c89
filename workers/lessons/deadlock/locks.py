"""Locks that note their holder and their waiting threads, and the wait-for graph in which a deadlock is a cycle.

Each thread waits for at most one lock and each lock has at most one holder. So from a thread there is only one way
through the graph: to the lock that it waits for, to that lock's holder, and so on. If it leads back to the
thread, that thread is stuck for good: no thread on the cycle can release a lock before it gets the one it waits for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

_LOOK_S = 0.002


class GaveUp(Exception):
    """This thread was asked to give up its wait, so that others can go on."""


def find_cycle(waits: Mapping[str, str], holders: Mapping[str, str]) -> list[str]:
    """Thread, lock, thread, lock, … around one cycle of the graph; empty where there is none."""
    for start in waits:
        path, thread = [], start
        while thread in waits and thread not in path:
            lock = waits[thread]
            path += [thread, lock]
            if lock not in holders:
                break
            thread = holders[lock]
        else:
            if thread in path:
                return path[path.index(thread) :]
    return []


class WaitForGraph:
    """The holder of each lock, and the lock that each waiting thread waits for, now."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._holders: dict[str, str] = {}
        self._waits: dict[str, str] = {}
        self._serials: dict[str, int] = {}
        self._serial = 0
        self._asked: set[str] = set()
        self._stuck: set[str] = set()
        self._closed = False

    def add_wait(self, thread: str, lock: str) -> None:
        with self._mutex:
            self._serial += 1
            self._waits[thread] = lock
            self._serials[thread] = self._serial

    def remove_wait(self, thread: str) -> bool:
        """True if the thread was seen on a cycle while it waited."""
        with self._mutex:
            del self._waits[thread]
            self._asked.discard(thread)
            was_stuck = thread in self._stuck
            self._stuck.discard(thread)
            return was_stuck

    def add_holder(self, thread: str, lock: str) -> None:
        with self._mutex:
            self._holders[lock] = thread

    def remove_holder(self, lock: str) -> None:
        """Called before the lock is released: called after that, it would remove the next holder."""
        with self._mutex:
            del self._holders[lock]

    def cycle(self) -> tuple[list[str], frozenset[int]]:
        """A cycle, and its identity: the serial numbers of the waits that form it."""
        with self._mutex:
            cycle = find_cycle(self._waits, self._holders)
            members = set(cycle) & set(self._waits)
            self._stuck |= members
            return cycle, frozenset(self._serials[member] for member in members)

    def ask_to_give_up(self, thread: str) -> None:
        """Makes a waiting thread give up."""
        with self._mutex:
            if thread in self._waits:
                self._asked.add(thread)

    def must_give_up(self, thread: str) -> bool:
        return self._closed or thread in self._asked

    def close(self) -> None:
        """Makes every thread that still waits give up."""
        self._closed = True


class WatchedLock:
    """A ``threading.Lock`` (or ``RLock``) that notes its holder and its waiting threads in a graph."""

    def __init__(self, name: str, graph: WaitForGraph, lock: threading.Lock | threading.RLock | None = None) -> None:
        self.name = name
        self._graph = graph
        self._lock = lock or threading.Lock()

    def acquire(self, timeout_s: float | None = None) -> tuple[bool, bool]:
        """Waits without a limit, for ``timeout_s``, or (0) not at all. Returns two answers: acquired, stuck.

        Raises ``GaveUp`` if the thread is asked to give up. The lock below is waited for in short turns, so that the
        thread notices this; without that, a thread on a cycle would never come back.
        """
        me = threading.current_thread().name
        stuck = False
        had = self._lock.acquire(blocking=False)
        if not had and timeout_s != 0:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            self._graph.add_wait(me, self.name)
            try:
                while not had and (deadline is None or time.monotonic() < deadline):
                    had = self._lock.acquire(timeout=_LOOK_S)
                    if not had and self._graph.must_give_up(me):
                        raise GaveUp
            finally:
                stuck = self._graph.remove_wait(me)
        if had:
            self._graph.add_holder(me, self.name)
        return had, stuck

    def release(self) -> None:
        self._graph.remove_holder(self.name)
        self._lock.release()
