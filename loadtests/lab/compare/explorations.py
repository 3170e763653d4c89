"""Every scenario over every store and guard that fit: an exploration of each cell, none twice, within a budget.

What came of a cell is written when its exploration has ended; one that was interrupted begins anew. An exploration ends
with the first schedule that loses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.text import Text

from loadtests.lab.compare.cache import CELLS
from loadtests.lab.compare.findings import first_line
from loadtests.lab.compare.results import NO_TIME
from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run
from loadtests.lab.explore.scenarios import SCENARIOS
from loadtests.lab.explore.schedules import Diverged
from loadtests.lab.explore.settling import Stuck
from loadtests.lab.paths import write_json
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.report.text import counted
from loadtests.lab.servers.office import NotReady
from loadtests.lab.untrusted import read_json
from service.catalogue import GUARDS, GUARDS_OF, OFF, STORES

VALID, LOSES, UNDECIDED, PARTLY = "valid", "loses", "undecided", "not all tried"
NOT_OFFERED, NOT_TRIED = "not offered", "not tried"
STATES = (VALID, LOSES, UNDECIDED, PARTLY, NOT_OFFERED, NOT_TRIED)
"""What may come of a cell. ``valid``: no schedule was left out, and none loses."""

Make = Callable[[str, str, str], Scenario]
"""Gives the case of a scenario, a store and a guard. Raises ``ValueError`` where it cannot be, with the reason."""


class ExplorationCell(NamedTuple):
    """One scenario over one store under one guard."""

    scenario: str
    store: str
    guard: str


class Tried(msgspec.Struct, kw_only=True):
    """The result of a cell."""

    scenario: str
    store: str
    guard: str
    state: str
    """One of ``STATES``."""
    safe: bool = False
    """The guard promises that nothing is lost here."""
    schedules: int = 0
    replay: str = ""
    """The id of a schedule that loses."""
    why: str = ""
    """What that schedule breaks, or the reason why the cell was not tried."""

    @property
    def failed(self) -> bool:
        return self.safe and self.state == LOSES


class _KeptCell(msgspec.Struct):
    case: Scenario
    tried: Tried


class _Enough(Exception):
    """The exploration need not go on."""


def cells(
    scenarios: Sequence[str] = (), stores: Sequence[str] = (), guards: Sequence[str] = ()
) -> list[ExplorationCell]:
    """The cells of the catalogue that are asked for, the most telling first; without any, all there are.

    First each store's safe guard, then none at all, then the other guards. A guard that is there to be caught keeps its
    promise by chance, so it is left out unless it is asked for.
    """
    wanted = guards or [name for name, guard in GUARDS.items() if not guard.is_leaky]
    found = [
        ExplorationCell(scenario, store, guard)
        for store in stores or STORES
        for guard in GUARDS_OF[store]
        if guard in wanted
        for scenario in scenarios or SCENARIOS
    ]
    return sorted(found, key=lambda cell: (cell.guard != STORES[cell.store].safe_guard, cell.guard != OFF))


def worker_of(store: str) -> str:
    """The worker model that keeps buyers apart least: processes of their own, or threads where a store has but one."""
    return "gthread" if STORES[store].scope == "process" else "sync"


class Explorations:
    """The explorations of cells, in a folder. What the folder has is not tried again."""

    def __init__(
        self,
        make: Make,
        folder: Path,
        progress: ProgressBar,
        ends: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``ends``: when the budget does, by the clock."""
        self._make = make
        self._folder = folder
        self._progress = progress
        self._ends = ends
        self._clock = clock

    def run(self, wanted: Sequence[ExplorationCell]) -> list[Tried]:
        """Explore the cells one after another; returns the result of each, in their order."""
        found = []
        self._progress.begin(len(wanted))
        for cell in wanted:
            tried, new = self._tried(cell)
            self._progress.done(1, _said(tried) if new else "")
            found.append(tried)
        return found

    def _tried(self, cell: ExplorationCell) -> tuple[Tried, bool]:
        """The result of a cell, and whether it was explored now: not where it was kept, not offered or out of time."""
        try:
            case = self._make(*cell)
        except ValueError as error:
            return Tried(**cell._asdict(), state=NOT_OFFERED, why=str(error)), False
        if (kept := _read(self._folder, cell, case)) is not None:
            return kept, False
        explored = ExplorationResult(case=case)
        tried = Tried(**cell._asdict(), state=NOT_TRIED, safe=explored.expected is Expectation.EXACT, why=NO_TIME)
        if self._clock() >= self._ends:
            return tried, False
        try:
            explored, ended = self._explore(cell, case)
        except (NotReady, OfficeError, Stuck, Diverged, OSError) as error:
            tried.why = first_line(str(error))
            return tried, True
        tried.schedules = explored.schedules
        if ended:
            _take(tried, explored)
            _keep(self._folder, cell, case, tried)
        return tried, True

    def _explore(self, cell: ExplorationCell, case: Scenario) -> tuple[ExplorationResult, bool]:
        """Explore a cell; returns what was found, and whether it ended by itself or with a schedule that loses."""
        explored, what = ExplorationResult(case=case), f"{cell.scenario}, {cell.store} + {cell.guard}"

        def on_executed(now: ExplorationResult) -> None:
            nonlocal explored
            explored = now
            self._progress.doing(f"{what}: {counted(now.schedules, 'schedule')}")
            if now.first is not None or self._clock() >= self._ends:
                raise _Enough

        self._progress.doing(what)
        try:
            return run(case, on_executed), True
        except _Enough:
            return explored, explored.first is not None


def status_of(found: Sequence[Tried]) -> int:
    """0: no safe guard loses, and all was tried; 1: a safe guard loses; 2: not all was tried, or decided."""
    if any(each.failed for each in found):
        return 1
    return 2 if any(each.state in {UNDECIDED, PARTLY, NOT_TRIED} for each in found) else 0


def _said(tried: Tried) -> Text:
    colour = "bold red" if tried.failed else "yellow" if tried.state in {UNDECIDED, NOT_TRIED} else ""
    what = f"{tried.scenario}, {tried.store} + {tried.guard}: "
    said = f" ({counted(tried.schedules, 'schedule')}) {tried.replay or tried.why}"
    return Text.assemble(what, (tried.state, colour), said)


def _take(tried: Tried, explored: ExplorationResult) -> None:
    tried.why = ""
    if explored.first is not None:
        tried.state, tried.replay, tried.why = LOSES, explored.first.replay, explored.first.why
    else:
        tried.state = UNDECIDED if explored.undecided else VALID if explored.whole else PARTLY


def _keep(folder: Path, cell: ExplorationCell, case: Scenario, tried: Tried) -> None:
    path = _path(folder, cell)
    path.parent.mkdir(exist_ok=True)
    write_json(path, _KeptCell(case, tried))


def _read(folder: Path, cell: ExplorationCell, case: Scenario) -> Tried | None:
    """The result that was kept of a cell; None where there is none, or where it is of another case."""
    kept = read_json(_path(folder, cell), _KeptCell)
    return kept.tried if kept is not None and kept.case == case else None


def _path(folder: Path, cell: ExplorationCell) -> Path:
    return folder / CELLS / f"{'-'.join(cell)}.json"
