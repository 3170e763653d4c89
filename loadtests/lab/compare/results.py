"""The results of a compare: the figures of each sale and each cell, and the cells that were not measured, and why."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from loadtests.lab.bench.paired import Interval, median_interval
from loadtests.lab.checks.verdict import worst
from loadtests.lab.compare.matrix import THINKS, Cell, CellSettings, PlannedCells
from loadtests.lab.experiment.expectation import Expectation, Met, met
from loadtests.lab.servers.machine import Machine

NO_TIME = "the budget ended first"
STOPPED = "interrupted first"
Item = TypeVar("Item")

_SUMS = ("seats", "acknowledged", "oversold", "double_booked", "unavailable", "wrong", "slow_load")
_MEDIANS = ("refused_per_s", "p50_ms", "p99_ms", "wait_p50_ms", "wait_p99_ms", "cpu_ms", "engine_cpu_ms")


class Figures(msgspec.Struct, kw_only=True):
    """The figures of a sale, or of all sales of a cell. Times are milliseconds, rates tickets or refusals a second."""

    verdict: str
    seats: int
    acknowledged: int
    oversold: int
    lost: int | None
    double_booked: int
    anomalies: dict[str, int]
    """By name: the violations of a sale, or the number of a cell's sales that had any. ``stale`` are inversions of
    operations that changed nothing."""
    refused_per_s: float | None
    unavailable: int
    p50_ms: float | None
    p99_ms: float | None
    wait_p50_ms: float | None
    wait_p99_ms: float | None
    """The time that purchases waited for the guard, by the service's own account."""
    overtaken_max: int | None
    """The most purchases that were sent later than one and decided earlier."""
    cpu_ms: float | None
    """CPU of all processes of the office for an acknowledged purchase, reads and refusals of the sale included."""
    engine_cpu_ms: float | None
    """The same of the store's engine, where it has one."""


class SaleFigures(Figures, kw_only=True):
    """The figures of one sale."""

    wrong: bool
    """True where there was an oversell, a double booking or a lost order."""
    sold_per_s: float
    seats_per_s: float
    """The rate at which seats were used up: under no guard slower than tickets are sold."""
    slow_load: bool
    """The load generator was the bottleneck, so the rates are lower bounds."""
    folder: str
    failed: int = 0
    """How often a buyer was told definitely that it is not possible now, or reached nobody."""
    stood_still_s: float | None = None
    """The longest time without a sale, of a fault that was injected."""
    load_average: float | None = None
    """Of the machine at the end of the sale, over one minute; the sale's own processes are in it."""


class Found(Figures, kw_only=True):
    """A cell that was measured: sums over its sales; rates and times are medians of its sales."""

    cell: Cell
    shape: str
    sales: int
    wrong: int
    """Number of sales with an oversell, a double booking or a lost order."""
    expected: str = msgspec.field(name="promise")
    met: str = msgspec.field(name="kept")
    sold_per_s: Interval
    slow_load: int
    """Number of sales in which the load generator was the bottleneck."""
    rates: list[float]
    """Sold a second in each sale."""
    folders: list[str]

    @property
    def right(self) -> bool:
        """Kept apart by its guard, and no violation found: not right by luck."""
        return self.expected == Expectation.EXACT.value and self.verdict == "valid"

    @property
    def by_luck(self) -> bool:
        """Nothing kept the purchases apart, and nothing went wrong."""
        return self.expected != Expectation.EXACT.value and self.verdict == "valid"


class Missing(msgspec.Struct, kw_only=True):
    """A cell of which there is no figure, and why. ``failed``: there should be one."""

    cell: Cell
    why: str
    failed: bool


class Results(msgspec.Struct, kw_only=True):
    """The cells that were asked for: measured, or not and why."""

    found: list[Found]
    missing: list[Missing]
    shape: CellSettings
    machine: Machine

    @property
    def by_think(self) -> list[Found]:
        """The cells, sorted by their delay; those with the same delay as they were planned."""
        return sorted(self.found, key=lambda each: THINKS.index(each.cell.think))

    @property
    def status(self) -> int:
        """0: every cell did what its guard promises; 1: one did not; 2: undecided, or one could not be measured."""
        did = {each.met for each in self.found}
        if Met.NO.value in did:
            return 1
        undecided = Met.UNDECIDED.value in did or not self.found or any(each.failed for each in self.missing)
        return 2 if undecided else 0


def summarize(
    plan: PlannedCells,
    sales: dict[Cell, list[SaleFigures]],
    failures: dict[Cell, str],
    *,
    shape: CellSettings,
    machine: Machine,
    why_not: str = STOPPED,
) -> Results:
    """The results so far, in the order of the plan; ``why_not`` is the reason for a cell without sales or failures."""
    missing = [Missing(cell=cell, why=why, failed=False) for cell, why in plan.impossible.items()]
    missing += [
        Missing(cell=cell, why=failures.get(cell, why_not), failed=cell in failures)
        for cell in plan.cells
        if not sales.get(cell)
    ]
    found = [summary(cell, sales[cell], shape) for cell in plan.cells if sales.get(cell)]
    return Results(found=found, missing=missing, shape=shape, machine=machine)


def summary(cell: Cell, sales: Sequence[SaleFigures], shape: CellSettings) -> Found:
    """The figures of one cell, from all its sales."""
    verdict = worst(sale.verdict for sale in sales)  # type: ignore[misc]
    expected = cell.expectation(shape)
    lost = [sale.lost for sale in sales if sale.lost is not None]
    rates = [sale.sold_per_s for sale in sales]
    figures: dict[str, Any] = {name: sum(getattr(sale, name) for sale in sales) for name in _SUMS}
    figures |= {name: _median([getattr(sale, name) for sale in sales]) for name in _MEDIANS}
    return Found(
        cell=cell,
        shape=cell.shape,
        sales=len(sales),
        verdict=verdict,
        expected=expected.value,
        met=met(expected, verdict, sum(sale.wrong for sale in sales)).value,
        lost=sum(lost) if lost else None,
        anomalies=seen_in(sales),
        sold_per_s=median_interval(rates, shape.seed),
        overtaken_max=max((sale.overtaken_max for sale in sales if sale.overtaken_max is not None), default=None),
        rates=rates,
        folders=[sale.folder for sale in sales],
        **figures,
    )


def seen_in(sales: Sequence[SaleFigures]) -> dict[str, int]:
    """Number of sales in which each anomaly was seen."""
    return dict(Counter(name for sale in sales for name in sale.anomalies))


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return round(statistics.median(there), 3) if there else None


def grouped(items: Iterable[Item], key: Callable[[Item], str]) -> dict[str, list[Item]]:
    """The items of each key, in their own order."""
    groups: dict[str, list[Item]] = {}
    for each in items:
        groups.setdefault(key(each), []).append(each)
    return groups
