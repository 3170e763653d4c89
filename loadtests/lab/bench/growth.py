"""The cost of a purchase after many orders: an event that grows, in pairs with a fresh one on the same server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from loadtests.lab.bench.cells import BenchCell
from loadtests.lab.bench.load_client import LoadGenerator, Window
from loadtests.lab.bench.paired import (
    SOLD,
    Interval,
    OfCell,
    Sampling,
    disagreement,
    in_pairs,
    load_of,
    median_interval,
    refuse_if_nothing_sold,
)
from loadtests.lab.bench.servers import OfficeSubject
from loadtests.lab.protocol.http_calls import ask
from service.catalogue import STORES

_FILLERS = 64
MOST_REWRITTEN = 1_000
"""Orders to which a store is grown that rewrites everything at each purchase: it is slow soon enough."""


class Grown(OfCell, kw_only=True):
    """The rate of an event with many orders, beside one with none."""

    processes: int
    orders: int
    sold_per_s: float
    fresh_per_s: float
    ratio: Interval
    memory_mb: float | None
    """The memory of the largest worker."""
    reopened_s: float | None = None
    """Seconds from ready (after ``kill -9``) to the first answer about the event; at the last size only."""
    reopened_mb: float | None = None
    """The memory of the worker that gave it: it holds this event alone. ``memory_mb`` has the fresh ones beside it."""
    problems: list[str] = msgspec.field(default_factory=list)


def sizes(store: str, most: int) -> list[int]:
    """The numbers of orders to look at: powers of ten, and the most."""
    most = min(most, MOST_REWRITTEN) if STORES[store].rewrites else most
    return sorted({0, most} | {10**power for power in range(2, 7) if 10**power < most})


def measure_growth(
    generator: LoadGenerator,
    cell: BenchCell,
    folder: Path,
    *,
    sampling: Sampling,
    sizes: Sequence[int],
    step: Callable[[str], None],
) -> list[Grown]:
    """Grow one event and look at each size. Raises ``NotAvailable`` where the service does not offer the cell."""
    with OfficeSubject(cell, folder) as office:
        event = _GrowingEvent(generator, office, sampling)
        rows = []
        for size in sizes:
            step(f"{cell.spelled}: selling up to {size:,} orders")
            event.sell_up_to(size)
            step(f"{cell.spelled}: {size:,} orders beside none")
            rows.append(event.beside_a_fresh_one(size))
        step(f"{cell.spelled}: opening the event again")
        rows[-1].reopened_s = event.reopen()
        rows[-1].reopened_mb = office.memory_mb()
        rows[-1].problems += event.problems()
        return rows


class _GrowingEvent:
    """An event to which each of its windows adds orders."""

    def __init__(self, generator: LoadGenerator, office: OfficeSubject, sampling: Sampling) -> None:
        self._generator = generator
        self._office = office
        self._sampling = sampling
        self._path = office.fresh()
        self._told = 0
        self._unknown = 0

    def sell_up_to(self, size: int) -> None:
        missing = size - self._told
        if missing > 0:
            self._sell(count=missing)

    def beside_a_fresh_one(self, size: int) -> Grown:
        problems: list[str] = []
        pairs = in_pairs(self._sampling, lambda: self._fresh_window(problems), self._sell)
        refuse_if_nothing_sold(self._office, pairs.windows)
        return Grown(
            **self._office.cell.identity,
            processes=self._office.service.shape[0],
            orders=size,
            sold_per_s=pairs.sold_per_s,
            fresh_per_s=pairs.other_per_s,
            ratio=median_interval(pairs.ratios, self._sampling.seed),
            memory_mb=self._office.memory_mb(),
            problems=problems,
        )

    def reopen(self) -> float:
        """Crash, start again, and ask for the event's counter."""
        self._office.restart()
        began = time.monotonic()
        ask("GET", f"{self._office.url}{self._path.removesuffix('/orders')}", timeout_s=60)
        return time.monotonic() - began

    def problems(self) -> list[str]:
        """A sentence, where the counter after the crash contradicts the sales that buyers were told of."""
        counted = self._office.counted(self._path)
        if self._told <= counted <= self._told + self._unknown:
            return []
        return [f"buyers were told of {self._told:,} sales, and after kill -9 there were {counted:,}"]

    def _fresh_window(self, problems: list[str]) -> Window:
        path = self._office.fresh()
        window = self._generator.window(load_of(self._office, path, _FILLERS, self._sampling))
        if problem := disagreement(window, self._office.counted(path)):
            problems.append(problem)
        return window

    def _sell(self, count: int = 0) -> Window:
        load = load_of(self._office, self._path, _FILLERS, self._sampling, count=count)
        window = self._generator.window(load)
        self._told += window.told.get(SOLD, 0)
        self._unknown += window.unknown
        return window
