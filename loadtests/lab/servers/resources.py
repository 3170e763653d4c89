"""What processes use, by the kernel's account: CPU time, memory, descriptors, threads; and whether that grows.

A leak is seen only over time. ``Watch`` looks at the workers of a server once in a while, from outside; ``growth``
compares the beginning of what it saw with the end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Self

import msgspec
import psutil

from loadtests.lab.servers.process import running_in_group

_MIB = 1024 * 1024
_FIFTH = 5


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of CPU that the processes used so far, in user space and in the kernel; those that are gone count 0."""
    used = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            used += times.user + times.system
    return used


def memory_mb(pid: int) -> float | None:
    """The memory that is this process's own, pages that it shares counted in part (PSS), in 10^6 bytes. Linux only."""
    with contextlib.suppress(psutil.Error, AttributeError):
        return float(psutil.Process(pid).memory_full_info().pss) / 1e6
    return None


def children_of(pid: int, *, recursive: bool = False) -> list[psutil.Process]:
    """The processes whose parent this one is: gunicorn's workers, of its master."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive)
    return []


class CpuTime(msgspec.Struct, frozen=True):
    """Seconds that an office and its engine have used, all processes together; None where there is none."""

    office_s: float | None = None
    engine_s: float | None = None

    @classmethod
    def used(cls, group: int, engine: int | None) -> CpuTime:
        """So far, by the processes of a group that run now and the descendants of its first one, which may be in groups
        of their own, and by an engine's process and its descendants."""
        office = cpu_s([*{*running_in_group(group), *(child.pid for child in children_of(group, recursive=True))}])
        if engine is None:
            return cls(office)
        family = [engine, *(child.pid for child in children_of(engine, recursive=True))]
        return cls(office, cpu_s(family))

    def since(self, before: CpuTime) -> CpuTime:
        return CpuTime(_difference(self.office_s, before.office_s), _difference(self.engine_s, before.engine_s))


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else max(0.0, after - before)


class Sample(msgspec.Struct, frozen=True):
    """The sums over all workers of a server at one moment."""

    at_s: float
    workers: int
    memory_mib: float
    descriptors: int
    threads: int


class Growth(msgspec.Struct, frozen=True):
    """Medians over the first fifth of the time and over the last."""

    seconds: float
    workers: int
    memory_mib: tuple[float, float]
    descriptors: tuple[float, float]
    threads: tuple[float, float]
    replaced: int
    """Workers that were not there from the beginning: gunicorn started them anew."""

    @property
    def words(self) -> str:
        (memory, more_memory), (files, more_files) = self.memory_mib, self.descriptors
        replaced = f" · {self.replaced} replaced" if self.replaced else ""
        return (
            f"{self.workers} workers held {memory:.0f} → {more_memory:.0f} MiB · "
            f"{files:g} → {more_files:g} descriptors · {self.threads[0]:g} → {self.threads[1]:g} threads{replaced} "
            f"(first and last fifth of {self.seconds:,.0f} s)"
        )


def look(master: int, began_s: float = 0.0) -> Sample:
    """The workers of gunicorn's ``master`` now. One that ends meanwhile counts for nothing."""
    memory = descriptors = threads = count = 0
    for worker in children_of(master):
        with contextlib.suppress(psutil.Error):
            with worker.oneshot():
                found = worker.memory_info().rss, worker.num_fds(), worker.num_threads()
            count += 1
            memory, descriptors, threads = memory + found[0], descriptors + found[1], threads + found[2]
    return Sample(round(time.monotonic() - began_s, 2), count, round(memory / _MIB, 2), descriptors, threads)


class Watch:
    """Looks at a server's workers regularly, for as long as a ``with`` block lasts.

    ``master`` tells its first process, which is another one after a restart.
    """

    def __init__(self, master: Callable[[], int], every_s: float = 1.0) -> None:
        self._master = master
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="watch", daemon=True)
        self._seen: set[int] = set()
        self._first: set[int] = set()
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._first = self._workers()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._seen |= self._workers()

    def _workers(self) -> set[int]:
        return {worker.pid for worker in children_of(self._master())}

    def _look_again(self) -> None:
        while not self._over.wait(self._every_s):
            self.samples.append(look(self._master(), self._began_s))
            self._seen |= self._workers()

    def growth(self) -> Growth | None:
        return growth(self.samples, len(self._seen - self._first))


def growth(samples: list[Sample], replaced: int = 0) -> Growth | None:
    """From the first fifth of some samples to the last; None of fewer than two fifths' worth."""
    some = len(samples) // _FIFTH
    if not some:
        return None

    def medians(name: str) -> tuple[float, float]:
        values = [getattr(each, name) for each in samples]
        return median(values[:some]), median(values[-some:])

    last = samples[-1]
    held = {name: medians(name) for name in ("memory_mib", "descriptors", "threads")}
    return Growth(seconds=last.at_s, workers=last.workers, replaced=replaced, **held)
