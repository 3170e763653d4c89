"""Replacements for locks, sleeps and opening files: in them an actor stops only where the scheduler knows it.

Where it would wait in the kernel (``flock``, the locks of ``threading`` and ``multiprocessing``) it tries without
waiting, says so, and tries again when it is told to. A sleep takes no time, and stops; so does the opening of a file
that empties it. So one actor runs at a time.
"""

from __future__ import annotations

import builtins
import fcntl
import functools
import io
import multiprocessing.synchronize
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from workers.exercises.common.turns import NotScheduled, here

_allocate_lock = threading._allocate_lock  # type: ignore[attr-defined]


class _Tried(Protocol):
    def acquire(self, blocking: bool = ..., /) -> bool: ...
    def release(self) -> None: ...


def _acquire(lock: _Tried, blocking: bool = True, timeout: float | None = -1) -> bool:
    turn = here.turn
    if not blocking:
        return lock.acquire(False)
    if turn is None:
        return lock.acquire()
    return turn.wait(lambda: lock.acquire(False), lock.release, expires=timeout is not None and timeout >= 0)


class _Lock:
    """``threading.Lock`` for actors."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self.release, self.locked = self._lock.release, self._lock.locked
        self.acquire = functools.partial(_acquire, self._lock)
        self._at_fork_reinit = self._lock._at_fork_reinit

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


def install() -> None:
    """From now on this process waits, sleeps and opens files as an actor does. Not undone: for a process of its own."""
    led: dict[str, Any] = {
        "Lock": _Lock,
        "_allocate_lock": _Lock,
        "RLock": threading._PyRLock,  # type: ignore[attr-defined]
        "_start_new_thread": _refuse_thread,
    }
    for name, function in led.items():
        setattr(threading, name, function)
    sys.addaudithook(_refuse_process)
    semaphore: Any = multiprocessing.synchronize.SemLock
    semaphore._make_methods = _make_methods
    semaphore.__enter__ = lambda self: self.acquire()
    time.sleep = _sleep  # type: ignore[assignment]
    fcntl.flock = _trying(fcntl.flock)
    fcntl.lockf = _trying(fcntl.lockf)
    builtins.open = io.open = _stopping(io.open, lambda mode="r", *_a, **_k: "w" in mode)
    os.open = _stopping(os.open, lambda flags, *_a, **_k: bool(flags & os.O_TRUNC))


def _refuse_thread(*_arguments: object) -> int:
    raise NotScheduled


def _refuse_process(event: str, _arguments: object) -> None:
    if event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"):
        raise NotScheduled


def _make_methods(lock: Any) -> None:
    lock.acquire = functools.partial(_acquire, lock._semlock)
    lock.release = lock._semlock.release


def _sleep(seconds: float) -> None:
    if here.turn is not None:
        here.turn.stop("sleep", "wakes_up")


def _trying(real: Callable[..., Any]) -> Callable[..., Any]:
    def lock(file: Any, operation: int, *range_: int) -> None:
        def attempt() -> bool:
            try:
                real(file, operation | fcntl.LOCK_NB, *range_)
            except BlockingIOError:
                return False
            return True

        turn = here.turn
        if turn is None or operation & (fcntl.LOCK_NB | fcntl.LOCK_UN):
            real(file, operation, *range_)
        else:
            turn.wait(attempt, lambda: real(file, fcntl.LOCK_UN, *range_))

    return lock


def _stopping(real: Callable[..., Any], empties: Callable[..., bool]) -> Callable[..., Any]:
    def opened(path: Any, *arguments: Any, **named: Any) -> Any:
        file = real(path, *arguments, **named)
        turn = here.turn
        if turn is not None and empties(*arguments, **named) and turn.program.place()[0]:
            turn.stop("gate")
        return file

    return opened
