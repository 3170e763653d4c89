"""A compare under way: sale after sale, the most telling first, until all are held or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from loadtests.lab.compare.cache import Kept
from loadtests.lab.compare.matrix import Cell, Plan, Shape
from loadtests.lab.compare.sale import Sale, hold, seats_for
from loadtests.lab.experiment.runner import Experiment, LabFailed, Step

_FIRST_GUESS_S = 4.0


class Turn(msgspec.Struct, frozen=True):
    """One sale that is to be held: of which cell, as its how-manieth."""

    cell: Cell
    number: int


class Reporter:
    """Who is told how far the compare is; this one says nothing."""

    def begin(self, sales: int, there: int) -> None:
        """So many sales there are to hold, and so many are there already."""

    def turn(self, turn: Turn, left_s: float | None) -> Step:
        """This sale begins; so long the budget lasts. Returns what is told each step of it."""
        return lambda _doing, _folder: None

    def done(self, turn: Turn, sale: Sale) -> None:
        """This is what it showed."""

    def failed(self, turn: Turn, why: str) -> None:
        """The sale could not be held."""


def turns(blocks: list[list[Cell]], repeats: int) -> Iterator[Turn]:
    """Block after block; each is gone through forwards, backwards, forwards …"""
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
        kept: Kept,
        reporter: Reporter,
        *,
        clock: Callable[[], float] = time.monotonic,
        hold_one: Callable[[Experiment, Path, Step], Sale] = hold,
    ) -> None:
        self.plan = plan
        self._shape = shape
        self._kept = kept
        self._reporter = reporter
        self._clock = clock
        self._hold = hold_one
        self.sales: dict[Cell, list[Sale]] = {cell: kept.sales(cell) for cell in plan.cells}
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
        place = self._kept.place(cell)
        seats = seats_for(cell, self._shape, self.sales)
        experiment = cell.experiment(self._shape, seats, len(self.sales[cell]) + 1)
        try:
            sale = self._hold(experiment, place, self._reporter.turn(turn, left_s))
        except (LabFailed, OSError) as error:
            self.failures[cell] = str(error)
            self._reporter.failed(turn, str(error))
            return
        self._kept.add(place, sale)
        self.sales[cell].append(sale)
        self._lasted_s.append(self._clock() - began)
        self._reporter.done(turn, sale)
