"""What was seen to go wrong under each pair of store and guard: in sales, and in the explorer's schedules.

The explorer tries every order of two purchases for one seat, so what it does not see cannot happen to two purchases
there; that says nothing about three, about reads and cancellations, or about faults. Sales try all that, by chance. A
lease is explored once more with a holder who may be stopped past its end: that is the fault which it does not survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.lab.compare.matrix import Cell
from loadtests.lab.compare.sale import Sale
from loadtests.lab.explore.exploration import Explored, Scenario, SeenAnomaly
from service.catalogue import GUARDS

EXPLORED = "explored"


class Schedules(msgspec.Struct, kw_only=True):
    """What an exploration tried and saw."""

    store: str
    guard: str
    pause: bool
    schedules: int
    whole: bool
    """No schedule was left untried."""
    undecided: int
    kept: bool
    """The guard did what it promises."""
    anomalies: dict[str, SeenAnomaly]

    @property
    def name(self) -> str:
        return f"{self.store}-{self.guard}" + ("-pause" if self.pause else "")


class Evidence(msgspec.Struct, kw_only=True):
    """Everything about one pair."""

    store: str
    guard: str
    explored: list[Schedules]
    sales: int
    seen_in: dict[str, int]
    """In how many of the sales each anomaly was seen."""
    trouble: str = ""
    """Why it could not be tried, or not all of it."""

    @property
    def schedules(self) -> int:
        return sum(each.schedules for each in self.explored)

    def replays(self, anomaly: str) -> list[str]:
        """The first schedule of each exploration that shows it."""
        return [each.anomalies[anomaly].replay for each in self.explored if anomaly in each.anomalies]

    def seen_by_explorer(self, anomaly: str) -> int:
        """In how many schedules it was seen."""
        return sum(each.anomalies[anomaly].schedules for each in self.explored if anomaly in each.anomalies)


def cases(store: str, guard: str) -> list[Scenario]:
    """What is explored of a pair: sync workers, so that every buyer is in a process of his own."""
    plain = Scenario(store=store, guard=guard, worker="sync")
    return [plain, msgspec.structs.replace(plain, pause=True)] if GUARDS[guard].is_lease else [plain]


def read_schedules(folder: Path, case: Scenario) -> Schedules | None:
    """What was kept of an exploration; None where it was not made, or cannot be read."""
    try:
        return msgspec.json.decode(_path(folder, case).read_bytes(), type=Schedules)
    except (OSError, msgspec.DecodeError):
        return None


def keep_schedules(folder: Path, case: Scenario, explored: Explored) -> Schedules:
    """Write it down, in one step."""
    found = Schedules(
        store=case.store,
        guard=case.guard,
        pause=case.pause,
        schedules=explored.schedules,
        whole=explored.whole,
        undecided=explored.undecided,
        kept=explored.met,
        anomalies=explored.anomalies,
    )
    path = _path(folder, case)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    unfinished.rename(path)
    return found


def gather(
    store: str, guard: str, explored: Sequence[Schedules], sales: dict[Cell, list[Sale]], trouble: str = ""
) -> Evidence:
    """The pair's sales, under whatever worker model, and its explorations."""
    mine = [sale for cell, held in sales.items() if (cell.store, cell.guard) == (store, guard) for sale in held]
    names = dict.fromkeys(name for sale in mine for name in sale.anomalies)
    return Evidence(
        store=store,
        guard=guard,
        explored=list(explored),
        sales=len(mine),
        seen_in={name: sum(name in sale.anomalies for sale in mine) for name in names},
        trouble=trouble,
    )


def _path(folder: Path, case: Scenario) -> Path:
    return folder / EXPLORED / f"{case.store}-{case.guard}{'-pause' if case.pause else ''}.json"
