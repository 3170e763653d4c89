"""``lastseat compare --anomalies``: explores every pair, holds a few sales of each, and writes the table."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from loadtests.lab.checks.anomalies import ANOMALIES
from loadtests.lab.compare.cache import Kept
from loadtests.lab.compare.evidence import Evidence, Schedules, cases, gather, keep_schedules, read_schedules
from loadtests.lab.compare.evidence_table import BEGIN, END, markdown
from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.matrix import Cell, Matrix, Plan, Shape, offers, plan
from loadtests.lab.compare.page import command_line
from loadtests.lab.compare.progress import CompareProgress
from loadtests.lab.compare.results import summarize
from loadtests.lab.compare.run import Comparison
from loadtests.lab.explore.execution import Stuck
from loadtests.lab.explore.exploration import Scenario, run
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report import markdown as sections
from loadtests.lab.servers.office import NotReady
from service.catalogue import OFF
from workers import WORKER_MODELS

TABLE = "anomalies.md"
_THINKS = ("none", "io")
_NO_TIME = "the budget ended before it was explored"

Pair = tuple[str, str]
"""A store and a guard."""


class Deadline:
    """When the budget ends, if it does."""

    def __init__(self, budget_s: float | None) -> None:
        self._ends = None if budget_s is None else time.monotonic() + budget_s

    @property
    def left_s(self) -> float | None:
        return None if self._ends is None else self._ends - time.monotonic()

    @property
    def passed(self) -> bool:
        return self.left_s is not None and self.left_s <= 0


class Explorations:
    """What was explored of each pair, and why not where it was not."""

    def __init__(self, folder: Path, screen: Console) -> None:
        self._folder = folder
        self._screen = screen
        self.found: dict[Pair, list[Schedules]] = {}
        self.trouble: dict[Pair, str] = {}

    def make(self, pair: Pair, deadline: Deadline) -> None:
        """Explore a pair, unless that was done and is kept."""
        for case in cases(*pair):
            found = read_schedules(self._folder, case)
            if found is None and deadline.passed:
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
    matrix: Matrix, shape: Shape, kept: Kept, budget_s: float | None, screen: Console
) -> tuple[list[Evidence], int]:
    """Explore each pair once, then hold one sale of each cell in which it may go wrong; the evidence and the status.

    What is kept in the folder is not done again, and all sales there count, also those that a compare held.
    """
    deadline = Deadline(budget_s)
    whole = plan(matrix, offers())
    pairs = list(dict.fromkeys((cell.store, cell.guard) for cell in _by_pair(whole)))
    explorations = Explorations(kept.folder, screen)
    for pair in pairs:
        explorations.make(pair, deadline)
    provoking = _provoking(matrix, whole)
    with CompareProgress(screen) as progress:
        running = Comparison(provoking, shape, kept, progress)
        running.run(1, deadline.left_s)
    for cell, why in running.failures.items():
        explorations.trouble.setdefault((cell.store, cell.guard), first_line(why))
    sales = {cell: kept.sales(cell) for cell in whole.cells}
    found = [
        gather(*pair, explorations.found.get(pair, ()), sales, explorations.trouble.get(pair, "")) for pair in pairs
    ]
    results = summarize(provoking, running.sales, running.failures, shape=shape, machine=kept.machine)
    return found, _status(found, results.status)


def keep_table(found: list[Evidence], kept: Kept, into: Path | None, screen: Console, *, as_json: bool) -> None:
    """Write the table into the folder and the page, and say it."""
    said = markdown(found, command=command_line(), when=time.strftime("%Y-%m-%d"), machine=kept.machine.in_words)
    (kept.folder / TABLE).write_text(said + "\n", encoding="utf-8")
    if into is not None:
        sections.replace_section(into, BEGIN, END, said)
        screen.print(f"written into {into}", highlight=False, markup=False)
    click.echo(msgspec.json.encode({"pairs": found, "anomalies": ANOMALIES}) if as_json else said)


def _by_pair(whole: Plan) -> list[Cell]:
    """As the catalogue has them, the control of each store first."""
    stores = list(dict.fromkeys(cell.store for cell in whole.cells))
    return sorted(whole.cells, key=lambda cell: (stores.index(cell.store), cell.guard != OFF))


def _provoking(matrix: Matrix, whole: Plan) -> Plan:
    """The cells in which purchases overlap most: the worker models' own processes, no delay and one that sleeps.

    First one of each pair, with threads and a delay, or what is nearest to that; then the others.
    """
    cells = [
        cell
        for cell in _by_pair(whole)
        if (matrix.thinks or cell.think in _THINKS)
        and (matrix.processes or cell.processes == WORKER_MODELS[cell.worker].processes)
    ]
    ordered = sorted(cells, key=lambda cell: (cell.think != "io", cell.worker != "gthread"))
    first = list({(cell.store, cell.guard): cell for cell in reversed(ordered)}.values())[::-1]
    return Plan([first, [cell for cell in ordered if cell not in first]], {})


def _status(found: list[Evidence], of_sales: int) -> int:
    """As of a compare: 0 as promised, 1 not, 2 something was not tried."""
    if of_sales == 1 or not all(each.kept for evidence in found for each in evidence.explored):
        return 1
    return 2 if any(each.trouble for each in found) else 0
