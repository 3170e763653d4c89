"""What a compare has found: a summary of each cell, and what was not measured, with the reason."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from loadtests.lab.bench.figures import Interval, median_interval
from loadtests.lab.checks.verdict import worst
from loadtests.lab.compare.matrix import THINKS, Cell, Plan, Shape
from loadtests.lab.compare.sale import Sale
from loadtests.lab.experiment.expectation import Expectation, Met, met
from loadtests.lab.servers.machine import Machine

NO_TIME = "the budget ended first"
STOPPED = "interrupted first"


class Found(msgspec.Struct, kw_only=True):
    """A cell that was measured: sums over its sales; rates and times are medians of its sales."""

    cell: Cell
    shape: str
    sales: int
    wrong: int
    """In how many of them a ticket was sold that is not there, twice, or whose order is lost."""
    verdict: str
    """The worst of its sales."""
    promise: str
    kept: str
    seats: int
    acknowledged: int
    oversold: int
    lost: int | None
    double_booked: int
    anomalies: dict[str, int]
    """In how many sales each was seen."""
    sold_per_s: Interval
    refused_per_s: float | None
    unavailable: int
    p50_ms: float | None
    p99_ms: float | None
    wait_p50_ms: float | None
    wait_p99_ms: float | None
    cpu_ms: float | None
    engine_cpu_ms: float | None
    overtaken_max: int | None
    slow_load: int
    """In how many sales the load generator was the bottleneck."""
    rates: list[float]
    """Sold a second in each sale."""
    folders: list[str]

    @property
    def right(self) -> bool:
        """Kept apart by its guard, and no violation found: not right by luck."""
        return self.promise == Expectation.EXACT.value and self.verdict == "valid"

    @property
    def by_luck(self) -> bool:
        """Nothing kept the purchases apart, and nothing went wrong."""
        return self.promise != Expectation.EXACT.value and self.verdict == "valid"


class Missing(msgspec.Struct, kw_only=True):
    """A cell of which there is no figure, and why. ``failed``: there should be one."""

    cell: Cell
    why: str
    failed: bool


class Results(msgspec.Struct, kw_only=True):
    """Everything that was asked for: measured, or not and why."""

    found: list[Found]
    missing: list[Missing]
    shape: Shape
    machine: Machine

    @property
    def by_think(self) -> list[Found]:
        """One delay after the other, in each as they were planned."""
        return sorted(self.found, key=lambda each: THINKS.index(each.cell.think))

    @property
    def status(self) -> int:
        """0: every cell did what its guard promises; 1: one did not; 2: undecided, or one could not be measured."""
        did = {each.kept for each in self.found}
        if Met.NO.value in did:
            return 1
        undecided = Met.UNDECIDED.value in did or not self.found or any(each.failed for each in self.missing)
        return 2 if undecided else 0


def summarize(
    plan: Plan,
    sales: dict[Cell, list[Sale]],
    failures: dict[Cell, str],
    *,
    shape: Shape,
    machine: Machine,
    why_not: str = STOPPED,
) -> Results:
    """What there is, in the order of the plan; ``why_not`` is the reason where nothing failed."""
    missing = [Missing(cell=cell, why=why, failed=False) for cell, why in plan.impossible.items()]
    missing += [
        Missing(cell=cell, why=failures.get(cell, why_not), failed=cell in failures)
        for cell in plan.cells
        if not sales.get(cell)
    ]
    found = [summary(cell, sales[cell], shape) for cell in plan.cells if sales.get(cell)]
    return Results(found=found, missing=missing, shape=shape, machine=machine)


def summary(cell: Cell, sales: Sequence[Sale], shape: Shape) -> Found:
    """One cell over all its sales."""
    verdict = worst(sale.verdict for sale in sales)  # type: ignore[misc]
    wrong, promise = sum(sale.wrong for sale in sales), cell.promise(shape)
    lost = [sale.lost for sale in sales if sale.lost is not None]
    return Found(
        cell=cell,
        shape=cell.shape,
        sales=len(sales),
        wrong=wrong,
        verdict=verdict,
        promise=promise.value,
        kept=met(promise, verdict, wrong).value,
        seats=sum(sale.seats for sale in sales),
        acknowledged=sum(sale.acknowledged for sale in sales),
        oversold=sum(sale.oversold for sale in sales),
        lost=sum(lost) if lost else None,
        double_booked=sum(sale.double_booked for sale in sales),
        anomalies=_seen_in(sales),
        sold_per_s=median_interval([sale.sold_per_s for sale in sales], shape.seed),
        refused_per_s=_median([sale.refused_per_s for sale in sales]),
        unavailable=sum(sale.unavailable for sale in sales),
        p50_ms=_median([sale.p50_ms for sale in sales]),
        p99_ms=_median([sale.p99_ms for sale in sales]),
        wait_p50_ms=_median([sale.wait_p50_ms for sale in sales]),
        wait_p99_ms=_median([sale.wait_p99_ms for sale in sales]),
        cpu_ms=_median([sale.cpu_ms for sale in sales]),
        engine_cpu_ms=_median([sale.engine_cpu_ms for sale in sales]),
        overtaken_max=max((sale.overtaken_max for sale in sales if sale.overtaken_max is not None), default=None),
        slow_load=sum(sale.slow_load for sale in sales),
        rates=[sale.sold_per_s for sale in sales],
        folders=[sale.folder for sale in sales],
    )


def _seen_in(sales: Sequence[Sale]) -> dict[str, int]:
    names = dict.fromkeys(name for sale in sales for name in sale.anomalies)
    return {name: sum(name in sale.anomalies for sale in sales) for name in names}


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return round(statistics.median(there), 3) if there else None


def why_missing(missing: Sequence[Missing]) -> list[tuple[str, list[Cell]]]:
    """Each reason with the cells that it concerns."""
    reasons: dict[str, list[Cell]] = {}
    for each in missing:
        reasons.setdefault(each.why, []).append(each.cell)
    return list(reasons.items())
