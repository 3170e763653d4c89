"""What becomes of a lock whose holder fails inside, and what becomes of a file whose writer is killed in it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, NamedTuple

from workers.lessons.children import ChildFailed, Crew
from workers.lessons.mutex_file import Flock, Lock, read, readable, replace, write, write_half

PATIENCE_S = 20.0
WRITING_S = 3.0
ORDERS = 300
_IN_VAIN = 3
# Two readers that ask again at once would hardly let the writer have the lock.
_BETWEEN_READS_S = 0.0002


class CardRefused(Exception):
    """What goes wrong in the middle of a purchase."""


PROCESS_LOCK, FILE_LOCK = "process lock", "file lock"
NO_FINALLY, FINALLY, KILLED = "exception, no finally", "exception, with finally", "killed, with finally"


@dataclass(frozen=True, slots=True)
class Failure:
    """Which lock is held when its holder fails, and how it fails."""

    lock: str
    end: str

    @property
    def given_back(self) -> bool:
        """By the finally, if it is run; after a kill nothing is, and only the kernel can take back what it lent."""
        return self.end == FINALLY or (self.lock, self.end) == (FILE_LOCK, KILLED)


class Waited(NamedTuple):
    """How many of those who asked got the lock, and how many gave up."""

    got_in: int
    in_vain: int


FAILURES = tuple(Failure(lock, end) for lock in (PROCESS_LOCK, FILE_LOCK) for end in (NO_FINALLY, FINALLY, KILLED))


def let_fail(failure: Failure, start: str, waiters: int, wait_s: float, directory: Path) -> Waited:
    """Let the holder fail, then let others ask, each for ``wait_s``."""
    with Crew(start) as crew:
        inside = crew.context.Event()
        lock: Any = Flock(directory / "holder.lock") if failure.lock == FILE_LOCK else crew.context.Lock()
        holder = crew.start(hold, lock, failure.end, inside)
        if not inside.wait(PATIENCE_S):
            raise ChildFailed("the holder never got the lock")
        if failure.end == KILLED:
            holder.kill()
            holder.join()
        others = [crew.start(ask, lock, wait_s) for _ in range(waiters)]
        for other in others:
            other.join(PATIENCE_S)
        in_vain = sum(other.exitcode == _IN_VAIN for other in others)
        got_in = sum(other.exitcode == 0 for other in others)
    if got_in + in_vain != waiters:
        raise ChildFailed("one who waited for the lock did not come back")
    return Waited(got_in, in_vain)


def hold(lock: Lock, end: str, inside: Event) -> None:
    """Take the lock and fail; a process that is not killed lives on, as a server's worker does after an error."""
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


def ask(lock: Lock, wait_s: float) -> None:
    if not lock.acquire(timeout=wait_s):
        sys.exit(_IN_VAIN)
    lock.release()


@dataclass(frozen=True, slots=True)
class Reading:
    """How often a file was read while another process kept writing it, and how often half of it was found."""

    reads: int
    crashed: int
    readable_after_kill: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """A file that one process writes and others read, and how they go about it."""

    path: Path
    in_place: bool
    lock: Any
    begun: Barrier
    done: Event


def read_while_writing(start: str, rewrites: int, directory: Path, *, in_place: bool, locked: bool) -> Reading:
    """One process writes a document again and again, two read it; then a writer is killed half-way."""
    path = directory / f"orders-{in_place}-{locked}.json"
    replace(path, _document(0))
    told = [path.with_name(f"{path.stem}-reader-{number}.json") for number in range(2)]
    with Crew(start) as crew:
        lock = crew.context.Lock() if locked else contextlib.nullcontext()
        desk = Desk(path, in_place, lock, crew.context.Barrier(3), crew.context.Event())
        for each in told:
            crew.start(keep_reading, desk, each)
        crew.start(keep_writing, desk, rewrites)
        if not crew.join(PATIENCE_S):
            raise ChildFailed("a reader or the writer did not end")
        numbers = [read(each) for each in told]
        halfway = crew.context.Event()
        victim = crew.start(write_until_killed, path, halfway, in_place)
        if not halfway.wait(PATIENCE_S):
            raise ChildFailed("the writer that was to be killed never wrote")
        victim.kill()
        victim.join()
    return Reading(sum(each["reads"] for each in numbers), sum(each["crashed"] for each in numbers), readable(path))


def keep_reading(desk: Desk, told: Path) -> None:
    reads = crashed = 0
    desk.begun.wait(PATIENCE_S)
    while not desk.done.is_set():
        with desk.lock:
            crashed += not readable(desk.path)
        reads += 1
        time.sleep(_BETWEEN_READS_S)
    replace(told, {"reads": reads, "crashed": crashed})


def keep_writing(desk: Desk, rewrites: int) -> None:
    desk.begun.wait(PATIENCE_S)
    until = time.monotonic() + WRITING_S
    try:
        for number in range(rewrites):
            if time.monotonic() > until:
                break
            with desk.lock:
                write(desk.path, _document(number), in_place=desk.in_place)
    finally:
        desk.done.set()


def write_until_killed(path: Path, halfway: Event, in_place: bool) -> None:
    write_half(path, _document(os.getpid()), in_place=in_place)
    halfway.set()
    time.sleep(PATIENCE_S)


def _document(number: int) -> dict[str, Any]:
    return {"tickets": number, "orders": [f"order {number}-{each}" for each in range(ORDERS)]}
