"""What a purchase costs after many orders: an event that grows, in pairs with a fresh one on the same server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from loadtests.lab.bench.cells import Cell
from loadtests.lab.bench.figures import Interval, abba, median_interval
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import Shape, disagreement, refuse_if_nothing_sold
from loadtests.lab.bench.servers import OfficeSubject
from loadtests.lab.bench.window import Load, Window
from loadtests.lab.protocol.http_calls import ask
from service.catalogue import STORES

_SOLD = 201
_FILLERS = 64
MOST_REWRITTEN = 1_000
"""Orders to which a store is grown that rewrites everything at each purchase: it is slow soon enough."""


class Grown(msgspec.Struct, kw_only=True):
    """How an event with so many orders sells, beside one with none."""

    worker: str
    store: str
    guard: str
    batch: int
    orders: int
    sold_per_s: float
    fresh_per_s: float
    ratio: Interval
    memory_mb: float | None
    """Of the largest worker."""
    reopened_s: float | None = None
    """From a restart after ``kill -9`` being ready to the first answer about the event; at the last size only."""
    reopened_mb: float | None = None
    """The memory of the worker that gave it: it holds this event alone. ``memory_mb`` has the fresh ones beside it."""
    problems: list[str] = []


def sizes(store: str, most: int) -> list[int]:
    """The numbers of orders to look at: powers of ten, and the most."""
    most = min(most, MOST_REWRITTEN) if STORES[store].rewrites else most
    return sorted({0, most} | {10**power for power in range(2, 7) if 10**power < most})


def measure_growth(
    generator: LoadGenerator,
    cell: Cell,
    folder: Path,
    *,
    shape: Shape,
    most: int,
    step: Callable[[str], None],
) -> list[Grown]:
    """Grow one event and look at each size. Raises ``NotAvailable`` where the service does not offer the cell."""
    with OfficeSubject(cell, folder) as office:
        grown = _Growing(generator, office, shape)
        rows = []
        for size in sizes(cell.store, most):
            step(f"{cell.spelled}: selling up to {size:,} orders")
            grown.sell_up_to(size)
            step(f"{cell.spelled}: {size:,} orders beside none")
            rows.append(grown.row(size))
        step(f"{cell.spelled}: opening the event again")
        rows[-1].reopened_s = grown.reopen()
        rows[-1].reopened_mb = office.memory_mb()
        rows[-1].problems += grown.problems()
        return rows


class _Growing:
    """The event that grows: each of its windows adds to it."""

    def __init__(self, generator: LoadGenerator, office: OfficeSubject, shape: Shape) -> None:
        self._generator = generator
        self._office = office
        self._shape = shape
        self._path = office.fresh()
        self._told = 0
        self._unknown = 0

    def sell_up_to(self, size: int) -> None:
        missing = size - self._told
        if missing > 0:
            self._sell(self._path, count=missing)

    def row(self, size: int) -> Grown:
        fresh: list[Window] = []
        old: list[Window] = []
        problems: list[str] = []
        for order in abba(self._shape.pairs):
            for side in order:
                if side == "A":
                    fresh.append(self._fresh_window(problems))
                else:
                    old.append(self._sell(self._path))
        refuse_if_nothing_sold(self._office, [*fresh, *old])
        top, rate = [[each.per_s(_SOLD) for each in windows] for windows in (fresh, old)]
        ratios = [ours / theirs for ours, theirs in zip(rate, top, strict=True)]
        cell = self._office.cell
        return Grown(
            worker=cell.worker,
            store=cell.store,
            guard=cell.guard,
            batch=cell.batch,
            orders=size,
            sold_per_s=statistics.median(rate),
            fresh_per_s=statistics.median(top),
            ratio=median_interval(ratios, self._shape.seed),
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
        """What the counter says after the crash against everything that buyers were told."""
        counted = self._office.counted(self._path)
        if self._told <= counted <= self._told + self._unknown:
            return []
        return [f"buyers were told of {self._told:,} sales, and after kill -9 there were {counted:,}"]

    def _fresh_window(self, problems: list[str]) -> Window:
        path = self._office.fresh()
        window = self._generator.window(self._load(path))
        problem = disagreement(window, self._office.counted(path))
        if problem:
            problems.append(problem)
        return window

    def _sell(self, path: str, count: int = 0) -> Window:
        window = self._generator.window(self._load(path, count))
        self._told += window.told.get(_SOLD, 0)
        self._unknown += window.unknown
        return window

    def _load(self, path: str, count: int = 0) -> Load:
        return Load(
            port=self._office.port,
            path=path,
            clients=_FILLERS,
            warm_s=0.0 if count else self._shape.warm_s,
            seconds=self._shape.seconds,
            count=count,
            pids=self._office.pids,
        )
