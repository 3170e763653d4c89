"""Metrics for Prometheus, summed over all processes of a master, also those that were killed.

Each process writes into its own files, in the format of prometheus_client's multiprocess mode, through shared memory:
counting costs a microsecond and no system call, and the counts outlive ``kill -9``. ``/metrics`` of any process adds up
the files of all.

A process takes a *slot*, the first whose lock is free, for as long as it lives: a directory with its files. It locks
the directory itself, as no other can take its place while the files stay. So a dead process is recognized by its free
lock, whatever became of its process id: its gauges (the queue, the holder of the guard) are left out. The process that
replaces it takes its slot and continues its counters, so nothing is lost and files do not pile up. Each master has its
own directory; the next master starts with an empty one and removes those in which no slot is held.

If a process is killed between a commit and its count, or between the count and the answer, the count differs from the
answers that buyers got, by purchases that got no answer.
"""

from __future__ import annotations

import bisect
import fcntl
import hashlib
import math
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.rules.records import Kind, Record
from service.runtime.files import close_directory, open_directory, try_flock
from service.runtime.shared_numbers import Book, Number

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)
COMMANDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, math.inf)

_ROOM = {"counter": 256 << 10, "histogram": 64 << 10, "gauge_livesum": 4 << 10, "gauge_livemin": 4 << 10}
_MOST_SLOTS = 10_000

TICKETS = "lastseat_tickets"
ANSWERS = "lastseat_answers"
WAIT = "lastseat_guard_wait_seconds"
HOLD = "lastseat_guard_hold_seconds"
STORE = "lastseat_store_seconds"
BATCH = "lastseat_batch_commands"
QUEUE = "lastseat_queue_length"
WORKERS = "lastseat_workers"
HELD_SINCE = "lastseat_guard_held_since_seconds"
HOLDER_AGE = "lastseat_guard_holder_age_seconds"
DEADLOCKS = "lastseat_deadlocks"

HELP = {
    TICKETS: "Tickets in committed and durable records, by kind of record",
    ANSWERS: "Answers by operation and outcome: ok, replayed, or the code of the problem",
    WAIT: "How long a mutation waited until it was decided",
    HOLD: "How long a transaction held the guard",
    STORE: "How long a transaction was in the store, waiting for the disk included",
    BATCH: "Commands decided in one transaction",
    QUEUE: "Commands that stand in line for the guard now",
    WORKERS: "Processes of this master that are open for sales",
    HELD_SINCE: "When the guard was taken that is held now (Unix time)",
    DEADLOCKS: "Carts that gave up because each waited for a lock that another one of them held",
    HOLDER_AGE: "How long the present holder of the guard has held it, the longest of all; 0 if it is free",
}


class Unmeasured:
    """Counts nothing: for a process that cannot, and for tests of other things."""

    def answered(self, operation: str, outcome: str) -> None:
        """An answer is about to leave."""

    def transacted(self, records: Sequence[Record], waits_ms: Iterable[float], hold_ms: float, store_ms: float) -> None:
        """A transaction is durable; ``waits_ms`` are those of its commands."""

    def queued(self, change: int) -> None:
        """``change`` more commands stand in line, or fewer if it is negative."""

    def took(self, holder: object) -> None:
        """``holder`` has the guard."""

    def gave_back(self, holder: object) -> None:
        """``holder`` does not have the guard any more, or never had it."""

    def deadlocked(self) -> None:
        """A cart has given up in a deadlock."""

    def text(self) -> bytes:
        """The content of ``/metrics``."""
        return b""


class Metrics(Unmeasured):
    """The counters of one process, and the sum over all processes of its master. Threads and greenlets share one."""

    def __init__(self, directory: Path, *, sells: bool = True) -> None:
        """``sells``: whether the process is open for sales. Errors: ``OSError`` where the disk has no room for the
        files."""
        self._directory = directory
        self._mutex = threading.Lock()
        self._slot, number = _take_a_slot(directory)
        slot = directory / f"slot_{number}"
        self._books = {kind: _open_book(slot / f"{kind}_{number}.db", room) for kind, room in _ROOM.items()}
        self._answers: dict[tuple[str, str], Number] = {}
        self._holders: dict[int, float] = {}
        self._tickets = {
            kind: self._number("counter", TICKETS, f"{TICKETS}_total", kind=kind) for kind in get_args(Kind)
        }
        self._wait, self._hold, self._store = (self._histogram(name, SECONDS) for name in (WAIT, HOLD, STORE))
        self._batch = self._histogram(BATCH, COMMANDS)
        self._deadlocks = self._number("counter", DEADLOCKS, f"{DEADLOCKS}_total")
        self._queue = self._number("gauge_livesum", QUEUE, QUEUE)
        self._number("gauge_livesum", WORKERS, WORKERS).put(int(sells))
        self._since = self._number("gauge_livemin", HELD_SINCE, HELD_SINCE)
        self._since.put(math.inf)

    def _number(self, book: str, metric: str, name: str, **labels: str) -> Number:
        return self._books[book].number(mmap_key(metric, name, list(labels), list(labels.values()), HELP[metric]))

    def _histogram(self, name: str, bounds: Sequence[float]) -> _Histogram:
        buckets = [
            self._number("histogram", name, f"{name}_bucket", le="+Inf" if math.isinf(bound) else str(bound))
            for bound in bounds
        ]
        return _Histogram(bounds, buckets, self._number("histogram", name, f"{name}_sum"))

    def answered(self, operation: str, outcome: str) -> None:
        with self._mutex:
            number = self._answers.get((operation, outcome))
            if number is None:
                number = self._number("counter", ANSWERS, f"{ANSWERS}_total", operation=operation, outcome=outcome)
                self._answers[operation, outcome] = number
            number.add(1)

    def transacted(self, records: Sequence[Record], waits_ms: Iterable[float], hold_ms: float, store_ms: float) -> None:
        commands = 0
        tickets: dict[Kind, int] = {}
        for record in records:
            tickets[record.kind] = tickets.get(record.kind, 0) + record.quantity
        with self._mutex:
            for wait_ms in waits_ms:
                commands += 1
                self._wait.observe(wait_ms / 1e3)
            self._hold.observe(hold_ms / 1e3)
            self._store.observe(store_ms / 1e3)
            self._batch.observe(commands)
            for kind, quantity in tickets.items():
                self._tickets[kind].add(quantity)

    def queued(self, change: int) -> None:
        with self._mutex:
            self._queue.add(change)

    def took(self, holder: object) -> None:
        now = time.time()
        with self._mutex:
            self._holders[id(holder)] = now
            if len(self._holders) == 1:
                self._since.put(now)

    def gave_back(self, holder: object) -> None:
        with self._mutex:
            if self._holders.pop(id(holder), None) is not None:
                self._since.put(min(self._holders.values(), default=math.inf))

    def deadlocked(self) -> None:
        with self._mutex:
            self._deadlocks.add(1)

    def text(self) -> bytes:
        return generate_latest(_Sum(self._directory))

    def close(self) -> None:
        """Give the slot back; nothing may be counted afterwards."""
        for book in self._books.values():
            book.close()
        close_directory(self._slot)


class _Histogram:
    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, bounds: Sequence[float], buckets: Sequence[Number], total: Number) -> None:
        self._bounds = bounds
        self._buckets = buckets
        self._sum = total

    def observe(self, value: float) -> None:
        self._buckets[bisect.bisect_left(self._bounds, value)].add(1)
        self._sum.add(value)


class _Sum(Collector):
    """All files of a directory added up; gauges only of living processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        files = [
            str(path)
            for slot in _slots(self._directory)
            for path in (slot.glob("*.db") if _is_held(slot) else slot.glob("[!g]*.db"))
        ]
        for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]
            yield _as_age(metric) if metric.name == HELD_SINCE else metric


def _as_age(since: Metric) -> Metric:
    age = Metric(HOLDER_AGE, HELP[HOLDER_AGE], "gauge")
    for sample in since.samples:
        age.add_sample(HOLDER_AGE, {}, 0.0 if math.isinf(sample.value) else max(0.0, time.time() - sample.value))
    return age


def open_metrics(data: Path, master: str, *, sells: bool = True) -> Metrics:
    """The metrics of this process of ``master``; ``sells``: whether buyers reach it. Errors: ``OSError`` where there is
    no room for them."""
    return Metrics(_directory_of(data, master), sells=sells)


def remove_what_is_left(data: Path, master: str) -> None:
    """Remove the directories of masters that are gone; to be called when ``master`` starts."""
    mine = _directory_of(data, master)
    for directory in mine.parent.glob("*"):
        if directory != mine and not any(_is_held(slot) for slot in _slots(directory)):
            shutil.rmtree(directory, ignore_errors=True)


def _directory_of(data: Path, master: str) -> Path:
    return data / "metrics" / hashlib.blake2b(master.encode(), digest_size=6).hexdigest()


def _take_a_slot(directory: Path) -> tuple[int, int]:
    """The locked descriptor of the first free slot, and its number."""
    for number in range(_MOST_SLOTS):
        path = directory / f"slot_{number}"
        path.mkdir(parents=True, exist_ok=True)
        fd = open_directory(path)
        try:
            if try_flock(fd, fcntl.LOCK_EX) and os.path.samestat(path.stat(), os.fstat(fd)):
                return fd, number
        except FileNotFoundError:
            pass  # a master that started at this moment saw no process in it, and removed it
        except BaseException:
            close_directory(fd)
            raise
        close_directory(fd)
    raise OSError(f"{directory}: no free slot")


def _slots(directory: Path) -> Iterator[Path]:
    return directory.glob("slot_*/")


def _is_held(slot: Path) -> bool:
    """Whether the process of a slot is alive."""
    try:
        fd = open_directory(slot)
    except FileNotFoundError:
        return False
    try:
        return not try_flock(fd, fcntl.LOCK_SH)
    finally:
        close_directory(fd)


def _open_book(path: Path, room: int) -> Book:
    """A process's file. Counters continue from the slot's last process; gauges start from zero."""
    if path.name.startswith("gauge"):
        path.unlink(missing_ok=True)
    return Book(path, room)
