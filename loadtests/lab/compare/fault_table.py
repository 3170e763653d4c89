"""What came out of ``lastseat faults --matrix``: held, refused or lost in each cell, and whether that was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

import msgspec

from loadtests.lab.checks.verdict import worst
from loadtests.lab.compare.cache import CELLS
from loadtests.lab.compare.matrix import Cell, CellSettings, PlannedCells
from loadtests.lab.compare.results import NO_TIME, STOPPED, SaleFigures
from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.faults import FAULTS
from loadtests.lab.report.run_report import COUNTEREXAMPLE, REPORT
from loadtests.lab.report.tables import Grid
from service.catalogue import GUARDS, STORES


class FaultOutcome(Enum):
    """What happened in a sale under a fault."""

    HELD = "held"
    """Valid, and no buyer was refused who could have had a ticket."""
    REFUSED = "refused"
    """Valid; for a time buyers were told definitely that they have nothing."""
    LOST = "lost"
    """A seat was sold twice, or an order is lost."""
    UNDECIDED = "undecided"


EXPECTED = {
    "holds": (FaultOutcome.HELD,),
    "may refuse": (FaultOutcome.HELD, FaultOutcome.REFUSED),
    "loses": (FaultOutcome.LOST,),
    "may lose": (FaultOutcome.HELD, FaultOutcome.REFUSED, FaultOutcome.LOST),
}
"""What is expected of a cell, and the outcomes that are that."""
_MARKS = {
    FaultOutcome.HELD: "held",
    FaultOutcome.REFUSED: "refused",
    FaultOutcome.LOST: "✗ lost",
    FaultOutcome.UNDECIDED: "?",
}
_STYLES = {
    FaultOutcome.HELD: "green",
    FaultOutcome.REFUSED: "yellow",
    FaultOutcome.LOST: "red",
    FaultOutcome.UNDECIDED: "magenta",
}


class FaultCell(msgspec.Struct, kw_only=True):
    """One cell that was measured."""

    cell: Cell
    outcome: FaultOutcome
    expected: str
    as_expected: bool
    failed: int
    """How often a buyer was refused definitely, or reached nobody."""
    stood_still_s: float | None
    """The longest time without a sale, from the fault to the first sale after it."""
    counterexample: str
    """Where the drawing of what went wrong is, below the results folder; empty where nothing did."""
    reports: list[str]
    load_average: float | None
    """The highest at the end of its sales."""

    @property
    def words(self) -> str:
        """``refused 2.1 s``, ``✗ lost``; with ``!`` where that was not expected."""
        stood = f" {self.stood_still_s:.1f} s" if self.outcome is FaultOutcome.REFUSED and self.stood_still_s else ""
        return f"{_MARKS[self.outcome]}{stood}{'' if self.as_expected else ' !'}"


class FaultResults(msgspec.Struct, kw_only=True):
    """The cells that were measured, and those that were not and why."""

    found: list[FaultCell]
    unfit: dict[Cell, str]
    """Cells that cannot be: the fault does not fit, or this machine cannot do it."""
    failed: dict[Cell, str]
    """Cells whose fault did not happen, or that the lab could not measure."""
    left: list[Cell]
    """Cells for which there was no time."""
    why_left: str

    @property
    def status(self) -> int:
        """0: every cell came out as expected; 1: one did not; 2: undecided, or one could not be measured."""
        undecided = [each for each in self.found if each.outcome is FaultOutcome.UNDECIDED]
        if any(not each.as_expected for each in self.found if each not in undecided):
            return 1
        return 2 if undecided or self.failed or not self.found else 0


def collect(
    plan: PlannedCells,
    sales: Mapping[Cell, Sequence[SaleFigures]],
    failures: Mapping[Cell, str],
    shape: CellSettings,
    *,
    ended: bool,
) -> FaultResults:
    """The results so far, in the order of the plan."""
    return FaultResults(
        found=[_found(cell, sales[cell], shape) for cell in plan.cells if sales.get(cell)],
        unfit=plan.impossible,
        failed={cell: why for cell, why in failures.items() if not sales.get(cell)},
        left=[cell for cell in plan.cells if not sales.get(cell) and cell not in failures],
        why_left=NO_TIME if ended else STOPPED,
    )


def expected_of(cell: Cell, shape: CellSettings) -> str:
    """A key of ``EXPECTED``: what store and guard promise under the fault."""
    expectation = cell.expectation(shape)
    if expectation is not Expectation.EXACT:
        return "loses" if expectation is Expectation.WRONG else "may lose"
    return "may refuse" if cell.fault in STORES[cell.store].refuses_under else "holds"


def _found(cell: Cell, sales: Sequence[SaleFigures], shape: CellSettings) -> FaultCell:
    outcome, expected = _outcome(sales), expected_of(cell, shape)
    wrong = next((sale for sale in sales if sale.verdict == "invalid"), None)
    return FaultCell(
        cell=cell,
        outcome=outcome,
        expected=expected,
        as_expected=outcome in EXPECTED[expected],
        failed=sum(sale.failed for sale in sales),
        stood_still_s=max((sale.stood_still_s for sale in sales if sale.stood_still_s is not None), default=None),
        counterexample=str(Path(CELLS) / wrong.folder / COUNTEREXAMPLE) if wrong else "",
        reports=[str(Path(CELLS) / sale.folder / REPORT) for sale in sales],
        load_average=max((sale.load_average for sale in sales if sale.load_average is not None), default=None),
    )


def _outcome(sales: Sequence[SaleFigures]) -> FaultOutcome:
    verdict = worst(sale.verdict for sale in sales)  # type: ignore[misc]
    if verdict != "valid":
        return FaultOutcome.LOST if verdict == "invalid" else FaultOutcome.UNDECIDED
    return FaultOutcome.REFUSED if any(sale.failed for sale in sales) else FaultOutcome.HELD


def tried(results: FaultResults) -> set[str]:
    """The faults that fit one of the cells that were asked for, and that this machine can do."""
    return {cell.fault for cell in _cells(results)}


def texts(results: FaultResults) -> dict[str, dict[str, dict[str, str]]]:
    """For each worker model and each fault that was asked for the text of each store and guard: ``–`` where it was not
    measured, nothing where the fault does not fit. Faults stand in the registry's order."""
    words = {each.cell: each.words for each in results.found}
    words |= dict.fromkeys(results.left, "–") | dict.fromkeys(results.failed, "failed !")
    asked = [*results.unfit, *words]
    tables: dict[str, dict[str, dict[str, str]]] = {
        worker: {fault: {} for fault in FAULTS if (worker, fault) in {(each.worker, each.fault) for each in asked}}
        for worker in dict.fromkeys(cell.worker for cell in _cells(results))
    }
    for cell, text in words.items():
        tables[cell.worker][cell.fault][cell.pair] = text
    return tables


def pairs(results: FaultResults) -> list[str]:
    """The stores and guards of which anything was tried, in the order of the plan."""
    there = dict.fromkeys((cell.store, cell.guard, cell.pair) for cell in _cells(results))
    return [pair for _, _, pair in sorted(there, key=lambda each: ([*STORES].index(each[0]), [*GUARDS].index(each[1])))]


def fault_grids(results: FaultResults) -> list[Grid]:
    """For each worker model a row for each fault, and a column for each store and guard."""
    columns = pairs(results)
    return [
        Grid(
            f"Worker model {worker}",
            ["fault", *columns],
            [[fault, *(cells.get(pair, "") for pair in columns)] for fault, cells in table.items()],
            words=frozenset({"fault"}),
            styles={mark: _STYLES[outcome] for outcome, mark in _MARKS.items()},
        )
        for worker, table in texts(results).items()
    ]


def _cells(results: FaultResults) -> list[Cell]:
    return [*(each.cell for each in results.found), *results.failed, *results.left]
