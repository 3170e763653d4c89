"""Locks that note who holds them and who waits, and the wait-for graph in which a deadlock is a circle.

Each thread waits for at most one lock and each lock has at most one holder, so from a thread there is only one way to
go on: to the lock that it waits for, to that lock's holder, and so forth. Whoever comes back to himself is stuck for
good, for nobody on the circle can let go before he gets what another one on it holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

_LOOK_S = 0.002


class GaveUp(Exception):
    """This thread was told to give up what it waits for, so that others can go on."""


def find_circle(waits: Mapping[str, str], holders: Mapping[str, str]) -> list[str]:
    """Thread, lock, thread, lock, … around one circle of the graph; empty where there is none."""
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


class Board:
    """Who holds what and who waits for what, now."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._holders: dict[str, str] = {}
        self._waits: dict[str, str] = {}
        self._serials: dict[str, int] = {}
        self._serial = 0
        self._told: set[str] = set()
        self._stuck: set[str] = set()
        self.closed = False
        """Set at the end, whatever happened: everybody who still waits gives up."""

    def waits(self, thread: str, lock: str) -> None:
        with self._mutex:
            self._serial += 1
            self._waits[thread] = lock
            self._serials[thread] = self._serial

    def waits_no_more(self, thread: str) -> bool:
        """Returns whether the thread was seen on a circle meanwhile."""
        with self._mutex:
            del self._waits[thread]
            self._told.discard(thread)
            was_stuck = thread in self._stuck
            self._stuck.discard(thread)
            return was_stuck

    def took(self, thread: str, lock: str) -> None:
        with self._mutex:
            self._holders[lock] = thread

    def gives_back(self, lock: str) -> None:
        """Noted before the lock is free: noted after, it would wipe out the next holder."""
        with self._mutex:
            del self._holders[lock]

    def circle(self) -> tuple[list[str], frozenset[int]]:
        """A circle, and what tells it from every other: the waits that it is made of."""
        with self._mutex:
            circle = find_circle(self._waits, self._holders)
            members = set(circle) & set(self._waits)
            self._stuck |= members
            return circle, frozenset(self._serials[member] for member in members)

    def tell(self, thread: str) -> None:
        """Tell a thread that waits to give up."""
        with self._mutex:
            if thread in self._waits:
                self._told.add(thread)

    def is_told(self, thread: str) -> bool:
        return self.closed or thread in self._told


class WatchedLock:
    """A ``threading.Lock`` (or ``RLock``) that tells the board."""

    def __init__(self, name: str, board: Board, lock: threading.Lock | threading.RLock | None = None) -> None:
        self.name = name
        self._board = board
        self._lock = lock or threading.Lock()

    def acquire(self, timeout_s: float | None = None) -> tuple[bool, bool]:
        """Wait for good, for so long, or (0) not at all; whether it was had, and whether the thread was stuck.

        Raises ``GaveUp`` where the thread is told to. The lock below is waited for in short turns only so that one
        can be told; without that, a thread on a circle would never come back.
        """
        me = threading.current_thread().name
        stuck = False
        had = self._lock.acquire(blocking=False)
        if not had and timeout_s != 0:
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            self._board.waits(me, self.name)
            try:
                while not had and (deadline is None or time.monotonic() < deadline):
                    had = self._lock.acquire(timeout=_LOOK_S)
                    if not had and self._board.is_told(me):
                        raise GaveUp
            finally:
                stuck = self._board.waits_no_more(me)
        if had:
            self._board.took(me, self.name)
        return had, stuck

    def release(self) -> None:
        self._board.gives_back(self.name)
        self._lock.release()
