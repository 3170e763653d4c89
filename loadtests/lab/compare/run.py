"""A compare under way: sale after sale, the most telling first, until all are held or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.text import Text

from loadtests.lab.compare.cache import SalesCache
from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.matrix import Cell, Plan, Shape
from loadtests.lab.compare.sale import Sale, hold, seats_for
from loadtests.lab.experiment.runner import Experiment, LabFailed, Step
from loadtests.lab.report.progress import OneBar

_FIRST_GUESS_S = 4.0


class Turn(msgspec.Struct, frozen=True):
    """One sale that is to be held, the ``number``-th of its cell."""

    cell: Cell
    number: int


class Reporter:
    """Is told how far the compare is; this one says nothing."""

    def begin(self, sales: int, there: int) -> None:
        """Some sales are to be held; ``there`` others are there already."""

    def turn(self, turn: Turn, left_s: float | None) -> Step:
        """This sale begins, with so much of the budget left. Returns what is to be called at each of its steps."""
        return lambda _doing, _folder: None

    def done(self, turn: Turn, sale: Sale) -> None:
        """The sale ended, with these figures."""

    def failed(self, turn: Turn, why: str) -> None:
        """The sale could not be held."""


class CompareProgress(OneBar, Reporter):
    """A bar on a terminal, and above it what came out so far; elsewhere a line for each sale."""

    def __init__(self, screen: Console) -> None:
        super().__init__(screen, before=(MofNCompleteColumn(),))

    def begin(self, sales: int, there: int) -> None:
        self._bars.update(self._task, total=sales)
        if there:
            self._screen.print(f"{there:,} sales are there already; {sales:,} are to be held", highlight=False)

    def turn(self, turn: Turn, left_s: float | None) -> Step:
        left = "" if left_s is None else f"  (at most {max(0, left_s) / 60:.0f} min more)"

        def step(doing: str, _folder: Path) -> None:
            self._bars.update(self._task, description=f"{turn.cell.spelled}: {doing}{left}")

        return step

    def done(self, turn: Turn, sale: Sale) -> None:
        self._bars.update(self._task, advance=1)
        colour = "red" if sale.wrong else "green" if sale.verdict == "valid" else "yellow"
        said = f"{sale.acknowledged:,} tickets for {sale.seats:,} seats, {sale.sold_per_s:,.0f}/s"
        self._screen.print(
            Text.assemble(f"{turn.cell.spelled}: ", (sale.verdict, colour), f", {said}"),
            soft_wrap=True,
            highlight=False,
        )

    def failed(self, turn: Turn, why: str) -> None:
        self._bars.update(self._task, advance=1)
        self._screen.print(Text(f"{turn.cell.spelled}: not measured: {first_line(why)}", "yellow"), soft_wrap=True)


def turns(blocks: list[list[Cell]], repeats: int) -> Iterator[Turn]:
    """Block after block, each of them forwards, backwards, forwards …"""
    for block in blocks:
        for number in range(1, repeats + 1):
            for cell in block if number % 2 else reversed(block):
                yield Turn(cell, number)


class Comparison:
    """``sales`` and ``failures`` hold what there is at any moment, also after an interruption."""

    def __init__(
        self,
        plan: Plan,
        shape: Shape,
        cache: SalesCache,
        reporter: Reporter,
        *,
        clock: Callable[[], float] = time.monotonic,
        hold_one: Callable[[Experiment, Path, Step], Sale] = hold,
    ) -> None:
        self.plan = plan
        self._shape = shape
        self._cache = cache
        self._reporter = reporter
        self._clock = clock
        self._hold = hold_one
        self.sales: dict[Cell, list[Sale]] = {cell: cache.sales(cell) for cell in plan.cells}
        self.failures: dict[Cell, str] = {}
        self.out_of_time = False
        self._lasted_s: list[float] = []

    def run(self, repeats: int, budget_s: float | None, *, again: bool = False) -> None:
        """Hold every sale that is missing to ``repeats`` of each cell; ``again``: as many more of each.

        A sale that would not end within the budget by how long sales took so far is not begun.
        """
        there = {cell: len(sales) for cell, sales in self.sales.items()}
        wanted = [turn for turn in turns(self.plan.blocks, repeats) if again or turn.number > there[turn.cell]]
        self._reporter.begin(len(wanted), sum(there.values()))
        ends = None if budget_s is None else self._clock() + budget_s
        for turn in wanted:
            if turn.cell in self.failures:
                continue
            left_s = None if ends is None else ends - self._clock()
            if left_s is not None and left_s < self._typical_s:
                self.out_of_time = True
                return
            self._take(turn, left_s)

    @property
    def _typical_s(self) -> float:
        """How long a sale takes with all around it."""
        return sum(self._lasted_s) / len(self._lasted_s) if self._lasted_s else _FIRST_GUESS_S

    def _take(self, turn: Turn, left_s: float | None) -> None:
        cell = turn.cell
        began = self._clock()
        place = self._cache.place(cell)
        seats = seats_for(cell, self._shape, self.sales)
        experiment = cell.experiment(self._shape, seats, len(self.sales[cell]) + 1)
        try:
            sale = self._hold(experiment, place, self._reporter.turn(turn, left_s))
        except (LabFailed, OSError) as error:
            self.failures[cell] = str(error)
            self._reporter.failed(turn, str(error))
            return
        self._cache.add(place, sale)
        self.sales[cell].append(sale)
        self._lasted_s.append(self._clock() - began)
        self._reporter.done(turn, sale)
