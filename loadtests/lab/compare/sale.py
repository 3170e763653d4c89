"""One sale of a cell, held by ``experiment.run`` like any other, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.compare.matrix import Cell, Shape
from loadtests.lab.experiment.measurement import quantile, span_ns
from loadtests.lab.experiment.runner import Experiment, Result, Step, run
from loadtests.lab.history.generator_load import bottleneck_message
from loadtests.lab.history.history import BUY, READ
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.report.run_report import write_run_report
from service.catalogue import OFF

FEWEST, MOST = 60, 6_000
"""The bounds of a sale's seats."""
_FIRST_GUESS_PER_S = 250.0


class Figures(msgspec.Struct, kw_only=True):
    """What a sale showed, or all sales of a cell. Times are milliseconds; rates are tickets, or refusals, a second."""

    verdict: str
    seats: int
    acknowledged: int
    oversold: int
    lost: int | None
    double_booked: int
    anomalies: dict[str, int]
    """By name, how many violations there were in a sale; in how many sales of a cell there were any. ``stale`` are the
    inversions of those who changed nothing."""
    refused_per_s: float | None
    unavailable: int
    p50_ms: float | None
    p99_ms: float | None
    wait_p50_ms: float | None
    wait_p99_ms: float | None
    """How long purchases waited for the guard, by the service's own account."""
    overtaken_max: int | None
    """By how many that were sent later the most overtaken purchase was."""
    cpu_ms: float | None
    """CPU of all processes of the office for an acknowledged purchase, reads and refusals of the sale included."""
    engine_cpu_ms: float | None
    """The same of the store's engine, where it has one."""


class Sale(Figures, kw_only=True):
    """One sale."""

    wrong: bool
    """Whether there was an oversell, a double booking or a lost order."""
    sold_per_s: float
    seats_per_s: float
    """How fast the seats went: under no guard fewer seats than tickets are used up."""
    slow_load: bool
    """The load generator was the bottleneck, so the rates are lower bounds."""
    folder: str


def hold(experiment: Experiment, place: Path, on_step: Step) -> Sale:
    """Hold one sale of a cell in ``place``. Raises ``LabFailed``; nothing is left running."""
    return figures(run(experiment, place, on_step, report=write_run_report))


def figures(result: Result) -> Sale:
    """What a sale showed."""
    operations = read_operations(result.folder / HISTORY)
    verdict, measures = result.verdict, result.measures
    purchases = int((operations.op[operations.sales] == BUY).sum())
    waits = operations.wait_ms[(operations.op != READ) & ~np.isnan(operations.wait_ms)]
    return Sale(
        verdict=verdict.verdict,
        wrong=bool(result.rounds_wrong),
        seats=result.capacity,
        acknowledged=verdict.acknowledged,
        oversold=verdict.oversold,
        lost=verdict.lost,
        double_booked=verdict.double_booked,
        anomalies=anomalies_of(verdict),
        sold_per_s=measures.sold_per_s,
        refused_per_s=measures.refused_per_s,
        unavailable=measures.unavailable,
        p50_ms=measures.p50_ms,
        p99_ms=measures.p99_ms,
        wait_p50_ms=quantile(waits, 0.5),
        wait_p99_ms=quantile(waits, 0.99),
        overtaken_max=measures.fairness.overtaken_max,
        cpu_ms=_each(result.cpu.office_s, purchases),
        engine_cpu_ms=_each(result.cpu.engine_s, purchases),
        seats_per_s=_seats_per_s(operations, result.capacity),
        slow_load=bottleneck_message(result.conclusion.loads) is not None,
        folder=f"{result.folder.parent.name}/{result.folder.name}",
    )


def seats_for(cell: Cell, shape: Shape, measured: Mapping[Cell, Sequence[Sale]]) -> int:
    """The seats that should last as long as the shape says, by earlier sales of this cell or of one like it."""
    mine = [sale.seats_per_s for sale in measured.get(cell, ())]
    if not mine:
        alike = {other: sales for other, sales in measured.items() if other.think == cell.think and sales}
        nearest = max(alike, key=lambda other: _likeness(cell, other), default=None)
        mine = [sale.seats_per_s for sale in alike[nearest]] if nearest is not None else []
    rate = float(np.median(mine)) if mine else _first_guess(cell, shape)
    return int(min(MOST, max(FEWEST, rate * shape.seconds)))


def _first_guess(cell: Cell, shape: Shape) -> float:
    """One purchase after another, each with its delay; without a guard most sales overwrite another."""
    rate = min(_FIRST_GUESS_PER_S, 1000 / shape.think_ms) if cell.delays else _FIRST_GUESS_PER_S
    return rate / 4 if cell.guard == OFF else rate


def _likeness(cell: Cell, other: Cell) -> tuple[int, int, int]:
    safe = (cell.guard == OFF) == (other.guard == OFF)
    return (int(safe), int(cell.store == other.store), int(cell.worker == other.worker))


def _seats_per_s(operations: Operations, seats: int) -> float:
    """As if all had gone; where time ran out before they had, that is too many, and the next sale corrects it."""
    sold = operations.sales
    if not len(sold):
        return 0.0
    began, ended = span_ns(operations, sold)
    return round(seats / max((ended - began) / 1e9, 1e-3), 1)


def _each(seconds: float | None, purchases: int) -> float | None:
    return None if seconds is None or not purchases else round(seconds * 1e3 / purchases, 3)
