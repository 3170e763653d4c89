"""Experiments under gevent, in fresh interpreters: with its monkey patch, without it, and with a late one."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
from gevent import get_hub, monkey
from gevent.lock import BoundedSemaphore
from gevent.socket import socketpair
from gevent.threadpool import ThreadPool

from workers.lessons.coroutines.by_hand import Note, noted, one_wait

BEAT_S = 0.004
PIECE_S = 0.001
POLL_S = 0.001


def two_waits(waits: dict[str, float]) -> dict[str, Any]:
    """Two greenlets that sleep as the standard library does, noted as the other ways to wait are."""

    def by_greenlets(waits: dict[str, float], note: Note) -> None:
        gevent.joinall([gevent.spawn(one_wait, *wait, note) for wait in waits.items()], raise_error=True)

    return noted(by_greenlets, waits, monkey.get_original("_thread", "get_ident"))


def heartbeats(lock: str, lasts_s: float) -> dict[str, dict[str, Any]]:
    """For each of ``_actions``: how often another greenlet gets its turn while one does it."""
    found = {}
    for name, action in _actions(lasts_s, Path(lock)).items():
        beats: list[float] = []
        heart = gevent.spawn(_beat, beats)
        gevent.sleep(0)
        with action() as act:
            began, before = time.perf_counter(), len(beats)
            act()
            ended, after = time.perf_counter(), len(beats)
        heart.kill()
        in_time = [beat - began for beat in beats[before:after]]
        found[name] = {"lasts_s": ended - began, "beats": in_time, "possible": int((ended - began) / BEAT_S)}
    return found


def _beat(beats: list[float]) -> None:
    while True:
        beats.append(time.perf_counter())
        gevent.sleep(BEAT_S)


Action = Callable[[], contextlib.AbstractContextManager[Callable[[], object]]]


def _actions(lasts_s: float, path: Path) -> dict[str, Action]:
    """The actions of a greenlet, each for about ``lasts_s``: entering prepares one, calling does it."""
    real_sleep, plain = monkey.get_original("time", "sleep"), contextlib.nullcontext

    def compute(between: Callable[[], object]) -> None:
        until = time.perf_counter() + lasts_s
        while time.perf_counter() < until:
            piece = time.perf_counter() + PIECE_S
            while time.perf_counter() < piece:
                sum(range(100))
            between()

    @contextlib.contextmanager
    def receive() -> Iterator[Callable[[], object]]:
        here, there = socketpair()
        with here, there:
            gevent.spawn_later(lasts_s, there.sendall, b".")
            yield lambda: here.recv(1)

    @contextlib.contextmanager
    def mutex() -> Iterator[Callable[[], object]]:
        lock = threading.Lock()
        lock.acquire()
        gevent.spawn_later(lasts_s, lock.release)
        yield lock.acquire

    @contextlib.contextmanager
    def flock(take: Callable[[int], object]) -> Iterator[Callable[[], object]]:
        held: list[bool] = []

        def hold() -> None:
            # A real thread with an open file of its own stands for another process.
            with path.open("w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                held.append(True)
                real_sleep(lasts_s)

        holders = ThreadPool(1)
        holder = holders.spawn(hold)
        while not held:
            gevent.sleep(POLL_S)
        with path.open("w", encoding="utf-8") as file:
            yield lambda: take(file.fileno())
        holder.get()
        holders.kill()

    def try_and_sleep(fd: int) -> None:
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_S)

    return {
        "sleeps": lambda: plain(lambda: time.sleep(lasts_s)),
        "waits for a socket": receive,
        "waits for a threading.Lock": mutex,
        "sleeps by a sleep kept from before the patch": lambda: plain(lambda: real_sleep(lasts_s)),
        "computes": lambda: plain(lambda: compute(lambda: None)),
        "computes, with sleep(0) between": lambda: plain(lambda: compute(lambda: gevent.sleep(0))),
        "computes, with a short sleep between": lambda: plain(lambda: compute(lambda: gevent.sleep(PIECE_S / 10))),
        "waits for a flock": lambda: flock(lambda fd: fcntl.flock(fd, fcntl.LOCK_EX)),
        "tries a flock and sleeps between": lambda: flock(try_and_sleep),
        "waits for a flock in a real thread": lambda: flock(
            lambda fd: get_hub().threadpool.apply(fcntl.flock, (fd, fcntl.LOCK_EX))
        ),
    }


def hangs_for_good(lock: str, patience_s: float) -> bool:
    """A greenlet holds a flock and sleeps; another one in the same thread waits for it: the holder never wakes up."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    path = Path(lock)

    def hold() -> None:
        with path.open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            gevent.sleep(patience_s / 20)

    holder = gevent.spawn(hold)
    gevent.sleep(0)
    signal.signal(signal.SIGALRM, ring)
    with path.open("w", encoding="utf-8") as file:
        try:
            signal.setitimer(signal.ITIMER_REAL, patience_s)
            fcntl.flock(file, fcntl.LOCK_EX)
            return False
        except TimeoutError:
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            holder.join()


def most_inside(path: str, greenlets: int, imported_before: bool) -> int:
    """The largest number of greenlets inside one ``FileLock`` at once, filelock imported before or after the patch."""
    if imported_before:
        import filelock

        monkey.patch_all()
    else:
        monkey.patch_all()
        import filelock
    inside = most = 0
    lock = filelock.FileLock(path, poll_interval=POLL_S)

    def enter() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            gevent.sleep(0.005)
            inside -= 1

    gevent.joinall([gevent.spawn(enter) for _ in range(greenlets)], raise_error=True)
    return most


def count_down(greenlets: int) -> dict[str, int]:
    """Each greenlet takes one from a number of as many. Returns what is left: 0 if no update was lost."""

    def left_over(between: Callable[[], object], guard: contextlib.AbstractContextManager[Any]) -> int:
        number = greenlets

        def take_one() -> None:
            nonlocal number
            with guard:
                seen = number
                between()
                number = seen - 1

        gevent.joinall([gevent.spawn(take_one) for _ in range(greenlets)], raise_error=True)
        return number

    return {
        "at once": left_over(lambda: None, contextlib.nullcontext()),
        "waits between": left_over(lambda: gevent.sleep(0), contextlib.nullcontext()),
        "waits between, with a lock": left_over(lambda: gevent.sleep(0), BoundedSemaphore(1)),
    }


def hand_over(times: int) -> float:
    """Seconds for ``times`` switches between two greenlets."""

    def switch() -> None:
        for _ in range(times // 2):
            gevent.sleep(0)

    began = time.perf_counter()
    gevent.joinall([gevent.spawn(switch) for _ in range(2)], raise_error=True)
    return time.perf_counter() - began
