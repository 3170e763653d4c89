"""What the processes of a server hold on to while they are loaded: memory, descriptors, threads.

A leak is seen only over time, so what counts is not how much there is but whether it grows. ``Watch`` looks once in a
while from outside, by the kernel's own account; ``growth`` compares the beginning of what it saw with the end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from statistics import median
from typing import Self

import msgspec
import psutil

_MIB = 1024 * 1024
_FIFTH = 5


class Sample(msgspec.Struct, frozen=True):
    """All workers of a server at one moment, added up."""

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
        """One line for people."""
        (memory, more_memory), (open_, more_open), (threads, more_threads) = (
            self.memory_mib, self.descriptors, self.threads,
        )  # fmt: skip
        held = (
            f"{memory:.0f} → {more_memory:.0f} MiB · {open_:g} → {more_open:g} descriptors · "
            f"{threads:g} → {more_threads:g} threads"
        )
        again = f" · {self.replaced} replaced" if self.replaced else ""
        return f"{self.workers} workers held {held}{again} (first and last fifth of {self.seconds:,.0f} s)"


def look(master: int, began: float = 0.0) -> Sample:
    """The workers of gunicorn's ``master`` now. One that ends meanwhile counts for nothing."""
    memory = descriptors = threads = count = 0
    for worker in workers_of(master):
        with contextlib.suppress(psutil.Error):
            with worker.oneshot():
                found = worker.memory_info().rss, worker.num_fds(), worker.num_threads()
            count += 1
            memory, descriptors, threads = memory + found[0], descriptors + found[1], threads + found[2]
    return Sample(round(time.monotonic() - began, 2), count, round(memory / _MIB, 2), descriptors, threads)


def workers_of(master: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(master).children()
    return []


class Watch:
    """Looks at a server's workers every so often, for as long as a ``with`` block lasts."""

    def __init__(self, master: int, every_s: float = 1.0) -> None:
        self._master = master
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="watch", daemon=True)
        self._seen: set[int] = set()
        self._first: set[int] = set()
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._first = {worker.pid for worker in workers_of(self._master)}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._seen |= {worker.pid for worker in workers_of(self._master)}

    def _look_again(self) -> None:
        while not self._over.wait(self._every_s):
            self.samples.append(look(self._master, self._began))
            self._seen |= {worker.pid for worker in workers_of(self._master)}

    def growth(self) -> Growth | None:
        """From the first fifth to the last; None where there is too little to compare."""
        return growth(self.samples, len(self._seen - self._first))


def growth(samples: list[Sample], replaced: int = 0) -> Growth | None:
    """From the first fifth of some samples to the last; None of fewer than two fifths' worth."""
    some = len(samples) // _FIFTH
    if not some:
        return None
    first, last = samples[:some], samples[-some:]

    def both(name: str) -> tuple[float, float]:
        return median(getattr(each, name) for each in first), median(getattr(each, name) for each in last)

    return Growth(
        seconds=samples[-1].at_s,
        workers=samples[-1].workers,
        memory_mib=both("memory_mib"),
        descriptors=both("descriptors"),
        threads=both("threads"),
        replaced=replaced,
    )
