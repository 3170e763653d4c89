"""Locks between all processes of a host, by ``flock``: filelock's, and one that keeps its descriptor open.

Both lock the same file in the same way, so they exclude each other. filelock opens and closes the file at each turn and
costs some 90 µs; where a purchase takes little longer than that, the lock would be what is measured. ``HostLock`` is a
system call in each direction, behind a lock in memory for the threads or greenlets of its own process (a flock belongs
to the open file, which they share).

A flock belongs to the file and not to its name. When the name is taken away, whoever is inside has the old file and
whoever comes next a new one of the same name: both have "the lock". So a lock file is made only while no transaction
runs anywhere (``LockFile.make``), or before there is anything to lock; it says which file it is, so that one that
somebody else put there is known; and whoever has got the lock looks whether it is the file of that name (``LockLost``).
Then nobody can have the new file before everybody who has the old one is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from service.errors import Problem
from service.runtime.epoch import taking_part
from service.runtime.files import temporary_beside, try_flock
from service.runtime.notifications import Blocked, ignore, take_lock

FILELOCK_POLL_S = 0.001
_SHORTEST_S, _LONGEST_S = 0.0001, 0.001
_LONGEST_STAMP = 100

Stamp = tuple[int, int, int]
"""The series of a lock file, its device and its number."""


class WrongFile(Exception):
    """What was locked is not the file that others lock."""


class LockFile:
    """The file of one lock. It holds its *stamp*: a series, and its own device and number."""

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)

    def make(self, series: int) -> None:
        """Let there be a new file, whatever there was; to be called while no transaction runs. Errors: ``OSError``."""
        self._write(series, os.replace)

    def make_if_missing(self, series: int) -> None:
        """Let there be a file before anybody can want the lock. Errors: ``OSError``."""
        with contextlib.suppress(FileExistsError):
            self._write(series, os.link)

    def is_right(self, series: int) -> bool:
        """Whether it is there, and one of this series that was made here."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return self.is_named(read_stamp(fd), series)
        finally:
            os.close(fd)

    def is_named(self, stamp: Stamp, series: int | None) -> bool:
        """Whether a file with this stamp is the one of this name, and of the series that counts (None: of any)."""
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return stamp[1:] == (there.st_dev, there.st_ino) and series in (stamp[0], None)

    def _write(self, series: int, name: Callable[[Path, str], None]) -> None:
        temporary = temporary_beside(Path(self.path))
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            itself = os.fstat(fd)
            os.write(fd, b"%d %d %d\n" % (series, itself.st_dev, itself.st_ino))
            name(temporary, self.path)
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def read_stamp(fd: int) -> Stamp:
    """What a lock file says of itself; of no file at all where that cannot be read."""
    try:
        series, device, number = map(int, os.pread(fd, _LONGEST_STAMP, 0).split())
    except ValueError:
        return 0, 0, 0
    return series, device, number


def _series() -> int | None:
    """The series of lock files that counts now; None outside of a transaction."""
    mode = taking_part.get()
    return None if mode is None else mode.lock_series


class TimedLock(Protocol):
    """What guard ``file`` needs of a lock; the holder may take it again."""

    def take(self, deadline: float, blocked: Blocked) -> None:
        """Have the lock. ``blocked`` is called once if that takes waiting.

        Errors: ``lock_timeout`` (definite), ``OSError``, ``WrongFile``; the lock is not had then.
        """

    def give_back(self) -> None: ...


class FilelockLock:
    """A ``filelock.FileLock``: one object for all threads; its hold is counted by thread."""

    def __init__(self, path: Path) -> None:
        self._file = LockFile(path)
        self._fd = -1
        # If what it calls on_acquired raises, the lock is given back.
        self._lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True, on_acquired=self._look)

    def _look(self, fd: int) -> None:
        if not self._file.is_named(read_stamp(fd), _series()):
            raise WrongFile
        self._fd = fd

    def take(self, deadline: float, blocked: Blocked) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            blocked()
            self._wait(deadline)

    def give_back(self) -> None:
        try:
            self._lock.release()
        except OSError:
            # What was done under it is done. The lock is of the file that is open: another one takes its place, which
            # frees it, and is what filelock then gives back.
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self._fd, inheritable=False)
            os.close(nothing)
            self._lock.release()

    def _wait(self, deadline: float) -> None:
        try:
            self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()), poll_interval=FILELOCK_POLL_S)
        except Timeout:
            raise Problem("lock_timeout", retry_after_s=1) from None


class HostLock:
    """``flock`` on a descriptor that stays open. To be built in the worker: after a fork it would be its parent's."""

    def __init__(self, path: Path) -> None:
        self._file = LockFile(path)
        self._fd = -1
        self._stamp: Stamp = (0, 0, 0)
        self._inner = threading.RLock()
        self._depth = 0

    def take(self, deadline: float, blocked: Blocked) -> None:
        has_waited = take_lock(self._inner, deadline, blocked)
        try:
            if self._depth == 0:
                self._have(deadline, ignore if has_waited else blocked)
        except BaseException:
            self._inner.release()
            raise
        self._depth += 1

    def give_back(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            except OSError:
                self._close()  # a descriptor that is closed has no lock
        self._inner.release()

    def _have(self, deadline: float, blocked: Blocked) -> None:
        """Only one thread of a process is ever here."""
        while True:
            known = self._fd >= 0
            if not known:
                self._open()
            try:
                if not try_flock(self._fd, fcntl.LOCK_EX):
                    blocked()
                    blocked = ignore
                    self._wait(deadline)
                if self._file.is_named(self._stamp, _series()):
                    return
            except BaseException:
                self._close()
                raise
            self._close()
            # What this process had open is not the file any more. What is there now may be right.
            if not known:
                raise WrongFile

    def _open(self) -> None:
        try:
            self._fd = os.open(self._file.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise WrongFile from None
        self._stamp = read_stamp(self._fd)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _wait(self, deadline: float) -> None:
        """A holder keeps the lock for some hundred microseconds."""
        pause_s = _SHORTEST_S
        while not try_flock(self._fd, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise Problem("lock_timeout", retry_after_s=1)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    def __del__(self) -> None:
        self._close()
