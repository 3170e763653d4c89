"""What is counted, for Prometheus, right across processes and across their deaths.

Each process writes into files of its own, in the format of prometheus_client's multiprocess mode, through shared memory:
counting costs a microsecond and no system call, and what was counted outlives ``kill -9``. ``/metrics`` of any process
adds up the files of all.

A process takes a *slot*, the first whose lock nobody holds, for as long as it lives. So a dead process is known by its
free lock, whatever became of its process id: its gauges (who waits, who holds the guard) are left out. Whoever takes its
place takes its slot and counts on from its counters, so nothing is lost and files do not pile up. The files of a master
lie in a directory of its own; the next master starts with an empty one and removes those in which no slot is held.

A process that is killed between a commit and its count, or between the count and the answer, leaves a count that
differs from what buyers were told by what they do not know either.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from service.records import Record

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)
COMMANDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, math.inf)

# Reserved on the disk beforehand: whoever touches mapped memory that the disk has no room for is killed (SIGBUS).
_ROOM = {"counter": 256 << 10, "histogram": 64 << 10, "gauge_livesum": 4 << 10, "gauge_livemin": 4 << 10}
_MOST_SLOTS = 10_000

TICKETS = "lastseat_tickets"
ANSWERS = "lastseat_answers"
WAIT = "lastseat_guard_wait_seconds"
HOLD = "lastseat_guard_hold_seconds"
STORE = "lastseat_store_seconds"
BATCH = "lastseat_batch_commands"
QUEUE = "lastseat_queue_length"
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
    HELD_SINCE: "When the guard was taken that is held now (Unix time)",
    DEADLOCKS: "Carts that gave up because each waited for a lock that another one of them held",
    HOLDER_AGE: "How long the guard has been held by whoever has held it longest; 0 where nobody does",
}
KINDS = ("sold", "cancelled", "held", "confirmed", "released", "expired")


class Unmeasured:
    """Counts nothing: for a process that cannot, and for tests of other things."""

    def answered(self, operation: str, outcome: str) -> None:
        """An answer is about to leave."""

    def transacted(self, records: Sequence[Record], waits_ms: Iterable[float], hold_ms: float, store_ms: float) -> None:
        """A transaction is durable; ``waits_ms`` are those of its commands."""

    def queued(self, change: int) -> None:
        """So many more, or fewer, stand in line."""

    def took(self, holder: object) -> None:
        """``holder`` has the guard."""

    def gave_back(self, holder: object) -> None:
        """It has not any more, or never had."""

    def deadlocked(self) -> None:
        """A cart has given up in a deadlock."""

    def text(self) -> bytes:
        """What ``/metrics`` shows."""
        return b""


class Metrics(Unmeasured):
    """The counters of one process, and the sum over all of its master's. Threads and greenlets share one."""

    def __init__(self, directory: Path) -> None:
        """Errors: ``OSError`` where the disk has no room for the files."""
        self._directory = directory
        self._mutex = threading.Lock()
        self._slot, number = _take_a_slot(directory)
        self._books = {kind: _open_book(directory / f"{kind}_{number}.db", room) for kind, room in _ROOM.items()}
        self._answers: dict[tuple[str, str], _Series] = {}
        self._holders: dict[int, float] = {}
        self._tickets = {kind: self._series("counter", TICKETS, f"{TICKETS}_total", kind=kind) for kind in KINDS}
        self._wait, self._hold, self._store = (self._histogram(name, SECONDS) for name in (WAIT, HOLD, STORE))
        self._batch = self._histogram(BATCH, COMMANDS)
        self._deadlocks = self._series("counter", DEADLOCKS, f"{DEADLOCKS}_total")
        self._queue = self._series("gauge_livesum", QUEUE, QUEUE)
        self._since = self._series("gauge_livemin", HELD_SINCE, HELD_SINCE)
        self._since.put(math.inf)

    def _series(self, book: str, metric: str, name: str, **labels: str) -> _Series:
        return _Series(self._books[book], mmap_key(metric, name, list(labels), list(labels.values()), HELP[metric]))

    def _histogram(self, name: str, bounds: Sequence[float]) -> _Histogram:
        buckets = [self._series("histogram", name, f"{name}_bucket", le=floatToGoString(bound)) for bound in bounds]
        return _Histogram(bounds, buckets, self._series("histogram", name, f"{name}_sum"))

    def answered(self, operation: str, outcome: str) -> None:
        with self._mutex:
            series = self._answers.get((operation, outcome))
            if series is None:
                series = self._series("counter", ANSWERS, f"{ANSWERS}_total", operation=operation, outcome=outcome)
                self._answers[operation, outcome] = series
            series.add(1)

    def transacted(self, records: Sequence[Record], waits_ms: Iterable[float], hold_ms: float, store_ms: float) -> None:
        commands = 0
        with self._mutex:
            for wait_ms in waits_ms:
                commands += 1
                self._wait.observe(wait_ms / 1e3)
            self._hold.observe(hold_ms / 1e3)
            self._store.observe(store_ms / 1e3)
            self._batch.observe(commands)
            for record in records:
                self._tickets[record.kind].add(record.quantity)

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
        return generate_latest(_Sum(self._directory))  # type: ignore[arg-type]

    def close(self) -> None:
        """Give the slot back; nothing may be counted afterwards."""
        for book in self._books.values():
            book.close()
        self._slot.close()


class _Series:
    """One number that is kept in a process's file; whoever changes it holds the mutex."""

    __slots__ = ("_book", "_key", "_value")

    def __init__(self, book: MmapedDict, key: str) -> None:
        self._book = book
        self._key = key
        self._value: float = book.read_value(key)[0]

    def add(self, amount: float) -> None:
        self.put(self._value + amount)

    def put(self, value: float) -> None:
        self._value = value
        self._book.write_value(self._key, value, 0.0)


class _Histogram:
    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, bounds: Sequence[float], buckets: Sequence[_Series], total: _Series) -> None:
        self._bounds = bounds
        self._buckets = buckets
        self._sum = total

    def observe(self, value: float) -> None:
        self._buckets[next(at for at, bound in enumerate(self._bounds) if value <= bound)].add(1)
        self._sum.add(value)


class _Sum(Collector):
    """All files of a directory added up; gauges of those alone who live."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        living = {number: _is_held(path) for number, path in _slots(self._directory)}
        files = [
            str(path)
            for path in self._directory.glob("*.db")
            if not path.name.startswith("gauge") or living.get(_number(path))
        ]
        for metric in MultiProcessCollector.merge(files):
            yield _as_age(metric) if metric.name == HELD_SINCE else metric


def _as_age(since: Metric) -> Metric:
    age = Metric(HOLDER_AGE, HELP[HOLDER_AGE], "gauge")
    for sample in since.samples:
        age.add_sample(HOLDER_AGE, {}, 0.0 if math.isinf(sample.value) else max(0.0, time.time() - sample.value))
    return age


def open_metrics(data: Path, master: str) -> Metrics:
    """The metrics of this process of ``master``. Errors: ``OSError`` where there is no room for them."""
    return Metrics(_directory_of(data, master))


def remove_what_is_left(data: Path, master: str) -> None:
    """Remove the directories of masters that are gone; to be called when ``master`` starts."""
    mine = _directory_of(data, master)
    for directory in mine.parent.glob("*"):
        if directory != mine and not any(_is_held(path) for _, path in _slots(directory)):
            shutil.rmtree(directory, ignore_errors=True)


def _directory_of(data: Path, master: str) -> Path:
    return data / "metrics" / hashlib.blake2b(master.encode(), digest_size=6).hexdigest()


def _take_a_slot(directory: Path) -> tuple[IO[bytes], int]:
    """The lock of the first slot that nobody holds, and its number."""
    for number in range(_MOST_SLOTS):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"slot_{number}.lock"
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                return lock, number
        # Removed with its directory, by a master that started at this moment and saw nobody in it.
        lock.close()
    raise OSError(f"{directory}: no free slot")


def _slots(directory: Path) -> Iterator[tuple[int, Path]]:
    for path in directory.glob("slot_*.lock"):
        yield _number(path), path


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _is_held(path: Path) -> bool:
    """Whether the process of a slot lives."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _open_book(path: Path, room: int) -> MmapedDict:
    """A process's file, its room reserved. Counters go on where the slot's last process left them; gauges do not."""
    if path.name.startswith("gauge"):
        path.unlink(missing_ok=True)
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, room)
        else:
            file.truncate(room)
    book: Any = MmapedDict(str(path))
    return book  # type: ignore[no-any-return]
