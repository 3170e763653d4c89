"""A lock whose holder fails, and a file whose writer is killed half-way."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, NamedTuple

from workers.lessons.common.processes import PATIENCE_S, ChildFailed, ProcessGroup
from workers.lessons.mutex.files import Flock, LockLike, readable, replace, write, write_half

WRITING_S = 3.0
ORDERS = 300
# Two readers that ask again at once would hardly let the writer have the lock.
_BETWEEN_READS_S = 0.0002


class CardRefused(Exception):
    """The error in the middle of a purchase."""


PROCESS_LOCK, FILE_LOCK = "process lock", "file lock"
NO_FINALLY, FINALLY, KILLED = "exception, no finally", "exception, with finally", "killed, with finally"


@dataclass(frozen=True, slots=True)
class HolderFailure:
    """The lock that is held when its holder fails, and the end of the holder."""

    lock: str
    end: str

    @property
    def given_back(self) -> bool:
        """A finally gives the lock back. After a kill no finally runs, and the kernel frees only its own locks."""
        return self.end == FINALLY or (self.lock, self.end) == (FILE_LOCK, KILLED)


class Waited(NamedTuple):
    """The number of processes that got the lock, and the number of those that gave up."""

    got_in: int
    in_vain: int


FAILURES = tuple(
    HolderFailure(lock, end) for lock in (PROCESS_LOCK, FILE_LOCK) for end in (NO_FINALLY, FINALLY, KILLED)
)


def fail_while_holding(failure: HolderFailure, start: str, waiters: int, wait_s: float, directory: Path) -> Waited:
    """The holder of a lock fails; then others ask for the lock, each for ``wait_s``."""
    with ProcessGroup(start) as group:
        inside = group.context.Event()
        lock: Any = Flock(directory / "holder.lock") if failure.lock == FILE_LOCK else group.context.Lock()
        holder = group.start(hold, lock, failure.end, inside)
        if not inside.wait(PATIENCE_S):
            raise ChildFailed("the holder never got the lock")
        if failure.end == KILLED:
            holder.kill()
            holder.join()
        for _ in range(waiters):
            group.submit(ask, lock, wait_s)
        got_in = sum(group.results())
    return Waited(got_in, waiters - got_in)


def hold(lock: LockLike, end: str, inside: Event) -> None:
    """Takes the lock and fails. A process that is not killed lives on, as a server's worker does after an error."""
    try:
        if end == NO_FINALLY:
            lock.acquire()
            _pay()
            lock.release()
        else:
            with lock:
                if end == KILLED:
                    inside.set()
                    time.sleep(PATIENCE_S)
                _pay()
    except CardRefused:
        inside.set()
    time.sleep(PATIENCE_S)


def _pay() -> None:
    raise CardRefused


def ask(lock: LockLike, wait_s: float) -> bool:
    """Asks for the lock and gives it back. True if it was acquired."""
    acquired = lock.acquire(timeout=wait_s)
    if acquired:
        lock.release()
    return acquired


@dataclass(frozen=True, slots=True)
class Reading:
    """The number of reads while another process kept writing the file, and of those that found half a document."""

    reads: int
    crashed: int
    readable_after_kill: bool


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that one process writes and others read, with their lock and their signals to each other."""

    path: Path
    in_place: bool
    lock: Any
    begun: Barrier
    done: Event


def read_while_writing(start: str, rewrites: int, directory: Path, *, in_place: bool, locked: bool) -> Reading:
    """One process writes a document again and again, two read it; then a writer is killed half-way."""
    path = directory / f"orders-{in_place}-{locked}.json"
    replace(path, _document(0))
    with ProcessGroup(start) as group:
        lock = group.context.Lock() if locked else contextlib.nullcontext()
        shared = SharedFile(path, in_place, lock, group.context.Barrier(3), group.context.Event())
        for _ in range(2):
            group.submit(keep_reading, shared)
        group.start(keep_writing, shared, rewrites)
        reads, crashed = map(sum, zip(*group.results(), strict=True))
        if not group.join():
            raise ChildFailed("a reader or the writer did not end")
        halfway = group.context.Event()
        victim = group.start(write_until_killed, path, halfway, in_place)
        if not halfway.wait(PATIENCE_S):
            raise ChildFailed("the writer that was to be killed never wrote")
        victim.kill()
        victim.join()
    return Reading(reads, crashed, readable(path))


def keep_reading(shared: SharedFile) -> tuple[int, int]:
    """Reads until the writer is done. Returns the number of reads, and of those that found half a document."""
    reads = crashed = 0
    shared.begun.wait(PATIENCE_S)
    while not shared.done.is_set():
        with shared.lock:
            crashed += not readable(shared.path)
        reads += 1
        time.sleep(_BETWEEN_READS_S)
    return reads, crashed


def keep_writing(shared: SharedFile, rewrites: int) -> None:
    shared.begun.wait(PATIENCE_S)
    until = time.monotonic() + WRITING_S
    try:
        for number in range(rewrites):
            if time.monotonic() > until:
                break
            with shared.lock:
                write(shared.path, _document(number), in_place=shared.in_place)
    finally:
        shared.done.set()


def write_until_killed(path: Path, halfway: Event, in_place: bool) -> None:
    write_half(path, _document(os.getpid()), in_place=in_place)
    halfway.set()
    time.sleep(PATIENCE_S)


def _document(number: int) -> dict[str, Any]:
    return {"tickets": number, "orders": [f"order {number}-{each}" for each in range(ORDERS)]}
