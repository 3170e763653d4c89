"""A compare under way: sale after sale, the most telling first, until all are held or the time is over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.text import Text

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.compare.cache import SalesCache
from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.matrix import Cell, CellSettings, PlannedCells
from loadtests.lab.compare.results import NO_TIME, STOPPED, Results, SaleFigures, summarize
from loadtests.lab.experiment.measurement import quantile, span_ns
from loadtests.lab.experiment.runner import Experiment, LabFailed, OnStep, Result, run
from loadtests.lab.history.generator_load import bottleneck_message
from loadtests.lab.history.history import BUY, FAIL, READ
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.report.run_report import write_run_report
from service.catalogue import OFF

_FIRST_GUESS_S = 4.0
_FIRST_GUESS_PER_S = 250.0
FEWEST, MOST = 60, 6_000
"""The bounds of a sale's seats."""


class PlannedSale(msgspec.Struct, frozen=True):
    """One sale that is to be held, the ``number``-th of its cell."""

    cell: Cell
    number: int


class CompareProgress(ProgressBar):
    """Shows the sale that is being held, and says what came out of each."""

    def __init__(self, screen: Console) -> None:
        super().__init__(screen, before=(MofNCompleteColumn(),))

    def turn(self, turn: PlannedSale, left_s: float | None) -> OnStep:
        """A sale begins, with so much of the budget left; returns what is to be called at each of its steps."""
        left = "" if left_s is None else f"  (at most {max(0, left_s) / 60:.0f} min more)"
        return lambda doing, _folder: self.doing(f"{turn.cell.spelled}: {doing}{left}")

    def held(self, turn: PlannedSale, sale: SaleFigures) -> None:
        colour = "red" if sale.wrong else "green" if sale.verdict == "valid" else "yellow"
        said = f"{sale.acknowledged:,} tickets for {sale.seats:,} seats, {sale.sold_per_s:,.0f}/s"
        self.done(1, Text.assemble(f"{turn.cell.spelled}: ", (sale.verdict, colour), f", {said}"))

    def failed(self, turn: PlannedSale, why: str) -> None:
        self.done(1, Text(f"{turn.cell.spelled}: not measured: {first_line(why)}", "yellow"))


def turns(blocks: list[list[Cell]], repeats: int) -> Iterator[PlannedSale]:
    """Block after block, each of them forwards, backwards, forwards …"""
    for block in blocks:
        for number in range(1, repeats + 1):
            for cell in block if number % 2 else reversed(block):
                yield PlannedSale(cell, number)


# -- one sale ----------------------------------------------------------------------------------------------------------


def hold(experiment: Experiment, place: Path, on_step: OnStep) -> SaleFigures:
    """Hold one sale of a cell in ``place``. Raises ``LabFailed``; nothing is left running."""
    return figures(run(experiment, place, on_step, report=write_run_report))


def figures(result: Result) -> SaleFigures:
    operations = read_operations(result.folder / HISTORY)
    verdict, measures = result.verdict, result.measures
    purchases = int((operations.op[operations.sales] == BUY).sum())
    waits = operations.wait_ms[(operations.op != READ) & ~np.isnan(operations.wait_ms)]
    return SaleFigures(
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
        failed=int((operations.outcome == FAIL).sum()),
        stood_still_s=max((each.stood_still_s for each in measures.recovery if each.stood_still_s), default=None),
        load_average=os.getloadavg()[0],
    )


def seats_for(cell: Cell, shape: CellSettings, measured: Mapping[Cell, Sequence[SaleFigures]]) -> int:
    """The seats that should last as long as the shape says, by earlier sales of this cell or of those like it.

    Of several that are like it the quickest counts: a fault makes a sale slower, and shall not be its end.
    """
    mine = [sale.seats_per_s for sale in measured.get(cell, ())]
    if not mine:
        alike = {other: sales for other, sales in measured.items() if other.think == cell.think and sales}
        likest = max((_likeness(cell, other) for other in alike), default=None)
        rates = [[sale.seats_per_s for sale in alike[other]] for other in alike if _likeness(cell, other) == likest]
        mine = max(rates, key=np.median, default=[])
    rate = float(np.median(mine)) if mine else _first_guess(cell, shape)
    return int(min(MOST, max(FEWEST, rate * shape.seconds)))


def _first_guess(cell: Cell, shape: CellSettings) -> float:
    """One purchase after another, each with its delay; without a guard most sales overwrite another."""
    rate = min(_FIRST_GUESS_PER_S, 1000 / shape.think_ms) if cell.delays else _FIRST_GUESS_PER_S
    return rate / 4 if cell.guard == OFF else rate


def _likeness(cell: Cell, other: Cell) -> tuple[int, int, int]:
    safe = (cell.guard == OFF) == (other.guard == OFF)
    return (int(safe), int(cell.store == other.store), int(cell.worker == other.worker))


def _seats_per_s(operations: Operations, seats: int) -> float:
    """The rate, as if all seats had been sold.

    Where time ran out before, the figure is too high, and the next sale corrects it.
    """
    sold = operations.sales
    if not len(sold):
        return 0.0
    began, ended = span_ns(operations, sold)
    return round(seats / max((ended - began) / 1e9, 1e-3), 1)


def _each(seconds: float | None, purchases: int) -> float | None:
    return None if seconds is None or not purchases else round(seconds * 1e3 / purchases, 3)


# -- all of them ------------------------------------------------------------------------------------------------------


class Comparison:
    """``sales`` and ``failures`` hold what there is at any moment, also after an interruption."""

    def __init__(
        self,
        plan: PlannedCells,
        shape: CellSettings,
        cache: SalesCache,
        progress: CompareProgress,
        *,
        clock: Callable[[], float] = time.monotonic,
        hold_one: Callable[[Experiment, Path, OnStep], SaleFigures] = hold,
    ) -> None:
        self.plan = plan
        self._shape = shape
        self._cache = cache
        self._progress = progress
        self._clock = clock
        self._hold = hold_one
        self.sales: dict[Cell, list[SaleFigures]] = {cell: cache.sales(cell) for cell in plan.cells}
        self.failures: dict[Cell, str] = {}
        self.out_of_time = False
        self._ended = False
        self._lasted_s: list[float] = []

    def run(self, repeats: int, budget_s: float | None, *, again: bool = False) -> None:
        """Hold every sale that is missing to ``repeats`` of each cell; ``again``: that number of sales more of each.

        A sale that would not end within the budget by how long sales took so far is not begun.
        """
        there = {cell: len(sales) for cell, sales in self.sales.items()}
        wanted = [turn for turn in turns(self.plan.blocks, repeats) if again or turn.number > there[turn.cell]]
        self._progress.begin(len(wanted))
        if held := sum(there.values()):
            self._progress.done(0, f"{held:,} sales are there already; {len(wanted):,} are to be held")
        ends = None if budget_s is None else self._clock() + budget_s
        for turn in wanted:
            if turn.cell in self.failures:
                continue
            left_s = None if ends is None else ends - self._clock()
            if left_s is not None and left_s < self._typical_s:
                self.out_of_time = True
                break
            self._take(turn, left_s)
        self._ended = True

    @property
    def results(self) -> Results:
        """The results so far, also after an interruption."""
        return summarize(
            self.plan,
            self.sales,
            self.failures,
            shape=self._shape,
            machine=self._cache.machine,
            why_not=NO_TIME if self._ended else STOPPED,
        )

    @property
    def _typical_s(self) -> float:
        """The time of a sale with all that is done around it."""
        return sum(self._lasted_s) / len(self._lasted_s) if self._lasted_s else _FIRST_GUESS_S

    def _take(self, turn: PlannedSale, left_s: float | None) -> None:
        cell = turn.cell
        began = self._clock()
        place = self._cache.place(cell)
        seats = seats_for(cell, self._shape, self.sales)
        experiment = cell.experiment(self._shape, seats, len(self.sales[cell]) + 1)
        try:
            sale = self._hold(experiment, place, self._progress.turn(turn, left_s))
        except (LabFailed, OSError) as error:
            self.failures[cell] = str(error)
            self._progress.failed(turn, str(error))
            return
        self._cache.add(place, sale)
        self.sales[cell].append(sale)
        self._lasted_s.append(self._clock() - began)
        self._progress.held(turn, sale)
