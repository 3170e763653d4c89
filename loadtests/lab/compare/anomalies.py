"""Guard × anomaly: explores every pair of store and guard, holds some sales of each, and gathers the evidence."""

from __future__ import annotations

import math
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from loadtests.lab.compare.cache import SalesCache
from loadtests.lab.compare.evidence import PairEvidence, Schedules, cases, gather, keep_schedules, read_schedules
from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.matrix import NO_DELAY, Cell, CellSettings, Matrix, PlannedCells, plan
from loadtests.lab.compare.run import CompareProgress, Comparison
from loadtests.lab.explore.exploration import Scenario, run
from loadtests.lab.explore.settling import Stuck
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.servers.office import NotReady
from service.catalogue import OFF
from workers import WORKER_MODELS

_SLEEPS = "io"
_NO_TIME = "the budget ended before it was explored"

Pair = tuple[str, str]
"""A store and a guard."""


class _Explorations:
    """The explorations of each pair, and the reason where a pair was not, or not wholly, explored."""

    def __init__(self, folder: Path, ends: float, screen: Console) -> None:
        self._folder = folder
        self._ends = ends
        self._screen = screen
        self.found: dict[Pair, list[Schedules]] = {}
        self.trouble: dict[Pair, str] = {}

    def make(self, pair: Pair) -> None:
        """Explore a pair, unless its folder has the result of an earlier exploration."""
        for case in cases(*pair):
            found = read_schedules(self._folder, case)
            if found is None and time.monotonic() >= self._ends:
                self.trouble[pair] = _NO_TIME
                return
            try:
                self.found.setdefault(pair, []).append(found or self._explore(case))
            except (NotReady, OfficeError, Stuck, OSError) as error:
                self.trouble[pair] = first_line(str(error))
                self._screen.print(Text(f"{' + '.join(pair)}: not explored: {self.trouble[pair]}", "yellow"))

    def _explore(self, case: Scenario) -> Schedules:
        what = f"{case.store} + {case.guard}" + (", one may be stopped" if case.pause else "")
        with self._screen.status(f"exploring {what} …"):
            found = keep_schedules(self._folder, case, run(case))
        seen = ", ".join(found.anomalies) or "no violation found"
        self._screen.print(f"{what}: {found.schedules} schedules: {seen}", highlight=False, soft_wrap=True)
        return found


def compare_anomalies(
    matrix: Matrix, shape: CellSettings, cache: SalesCache, budget_s: float | None, screen: Console
) -> tuple[list[PairEvidence], int]:
    """Explore each pair once, then hold one sale of each cell in which it may go wrong; the evidence and the status.

    What is in the folder is not done again, and all sales there count, also those that a compare held.
    """
    ends = math.inf if budget_s is None else time.monotonic() + budget_s
    whole = plan(matrix)
    pairs = list(dict.fromkeys((cell.store, cell.guard) for cell in _by_pair(whole)))
    explorations = _Explorations(cache.folder, ends, screen)
    for pair in pairs:
        explorations.make(pair)
    provoking = provoking_cells(matrix, whole)
    with CompareProgress(screen) as progress:
        running = Comparison(provoking, shape, cache, progress)
        running.run(1, None if budget_s is None else ends - time.monotonic())
    for cell, why in running.failures.items():
        explorations.trouble.setdefault((cell.store, cell.guard), first_line(why))
    sales = {cell: cache.sales(cell) for cell in whole.cells}
    found = [
        gather(*pair, explorations.found.get(pair, ()), sales, explorations.trouble.get(pair, "")) for pair in pairs
    ]
    return found, _status(found, running.results.status)


def provoking_cells(matrix: Matrix, whole: PlannedCells) -> PlannedCells:
    """The cells in which purchases overlap most: the worker models' own processes, no delay and one that sleeps.

    First one of each pair, with threads and a delay, or what is nearest to that; then the others.
    """
    cells = [
        cell
        for cell in _by_pair(whole)
        if (matrix.thinks or cell.think in {NO_DELAY, _SLEEPS})
        and (matrix.processes or cell.processes == WORKER_MODELS[cell.worker].processes)
    ]
    ordered = sorted(cells, key=lambda cell: (cell.think != _SLEEPS, cell.worker != "gthread"))
    first = list({(cell.store, cell.guard): cell for cell in reversed(ordered)}.values())[::-1]
    return PlannedCells([first, [cell for cell in ordered if cell not in first]], {})


def _by_pair(whole: PlannedCells) -> list[Cell]:
    """In the order of the catalogue, the control of each store first."""
    stores = list(dict.fromkeys(cell.store for cell in whole.cells))
    return sorted(whole.cells, key=lambda cell: (stores.index(cell.store), cell.guard != OFF))


def _status(found: list[PairEvidence], of_sales: int) -> int:
    """The exit status: 0 every guard did what it promises, 1 one did not, 2 something was not tried."""
    if of_sales == 1 or not all(each.met for evidence in found for each in evidence.explored):
        return 1
    return 2 if any(each.trouble for each in found) else 0
