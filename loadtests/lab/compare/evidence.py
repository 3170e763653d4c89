"""Evidence: the anomalies seen under each pair of store and guard, in sales and in the explorer's schedules; the table.

The explorer tries every order of two purchases for one seat, so what it does not see cannot happen to two purchases
there; that says nothing about three, about reads and cancellations, or about faults. Sales try all that, by chance. A
lease is explored once more with a holder who may be stopped past its end: that is the fault which it does not survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.lab.checks.anomalies import ANOMALIES
from loadtests.lab.compare.matrix import Cell
from loadtests.lab.compare.results import SaleFigures, grouped, seen_in
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, SeenAnomaly
from loadtests.lab.paths import write_json
from loadtests.lab.report.markdown import table
from loadtests.lab.report.text import counted
from loadtests.lab.untrusted import read_json
from service.catalogue import GUARDS

EXPLORED = "explored"
BEGIN = "<!-- anomalies: written by `lastseat compare --anomalies --write` -->"
END = "<!-- end of anomalies -->"


class Schedules(msgspec.Struct, kw_only=True):
    """The schedules that an exploration tried, and the anomalies that it saw."""

    store: str
    guard: str
    pause: bool
    schedules: int
    whole: bool
    """No schedule was left untried."""
    undecided: int
    met: bool = msgspec.field(name="kept")
    """True where the guard did what it promises."""
    anomalies: dict[str, SeenAnomaly]


class PairEvidence(msgspec.Struct, kw_only=True):
    """Everything about one pair."""

    store: str
    guard: str
    explored: list[Schedules]
    sales: int
    seen_in: dict[str, int]
    """Number of sales in which each anomaly was seen."""
    trouble: str = ""
    """The reason why it could not be tried, or not all of it."""

    @property
    def schedules(self) -> int:
        return sum(each.schedules for each in self.explored)

    def replays(self, anomaly: str) -> list[str]:
        """The first schedule of each exploration that shows it."""
        return [each.anomalies[anomaly].replay for each in self.explored if anomaly in each.anomalies]

    def seen_by_explorer(self, anomaly: str) -> int:
        """Number of schedules in which it was seen."""
        return sum(each.anomalies[anomaly].schedules for each in self.explored if anomaly in each.anomalies)


def cases(store: str, guard: str) -> list[Scenario]:
    """The explorations of a pair, under sync workers, so that every buyer is in a process of their own."""
    # All schedules, so that one can say in how many an anomaly was seen.
    plain = Scenario(store=store, guard=guard, worker="sync", prune=False)
    return [plain, msgspec.structs.replace(plain, pause=True)] if GUARDS[guard].is_lease else [plain]


def read_schedules(folder: Path, case: Scenario) -> Schedules | None:
    """The result of an earlier exploration; None where there was none, or it cannot be read."""
    return read_json(_path(folder, case), Schedules)


def keep_schedules(folder: Path, case: Scenario, explored: ExplorationResult) -> Schedules:
    """Write down what an exploration found, in one step."""
    found = Schedules(
        store=case.store,
        guard=case.guard,
        pause=case.pause,
        schedules=explored.schedules,
        whole=explored.whole,
        undecided=explored.undecided,
        met=explored.met,
        anomalies=explored.anomalies,
    )
    path = _path(folder, case)
    path.parent.mkdir(exist_ok=True)
    write_json(path, found)
    return found


def gather(
    store: str, guard: str, explored: Sequence[Schedules], sales: dict[Cell, list[SaleFigures]], trouble: str = ""
) -> PairEvidence:
    """The pair's sales, under whatever worker model, and its explorations."""
    mine = [sale for cell, held in sales.items() if (cell.store, cell.guard) == (store, guard) for sale in held]
    return PairEvidence(
        store=store,
        guard=guard,
        explored=list(explored),
        sales=len(mine),
        seen_in=seen_in(mine),
        trouble=trouble,
    )


def _path(folder: Path, case: Scenario) -> Path:
    return folder / EXPLORED / f"{case.store}-{case.guard}{'-pause' if case.pause else ''}.json"


# -- the table ---------------------------------------------------------------------------------------------------------


def markdown(found: Sequence[PairEvidence], *, command: str, when: str, machine: str) -> str:
    """A table for each store, guard × anomaly: seen, where, and the schedule that shows it again."""
    tables = [_store(store, mine) for store, mine in grouped(found, lambda each: each.store).items()]
    return "\n\n".join([f"`{command}`, {when}. {machine}", *tables])


def _store(store: str, found: Sequence[PairEvidence]) -> str:
    rows = ([f"`{each.guard}`", *(_cell(each, name) for name in ANOMALIES)] for each in found)
    lines = [f"### Store `{store}`", "", *table(["guard", *ANOMALIES], rows)]
    again = _schedules(found)
    if again:
        lines += ["", "The schedules, to be seen again with `lastseat explore --replay`:", "", *again]
    lines += [line for each in found if each.trouble for line in ("", f"`{each.guard}`: not all tried: {each.trouble}")]
    return "\n".join(lines)


def _cell(evidence: PairEvidence, anomaly: str) -> str:
    seen = []
    if schedules := evidence.seen_by_explorer(anomaly):
        seen.append(f"{schedules} of {counted(evidence.schedules, 'schedule')}")
    if sales := evidence.seen_in.get(anomaly, 0):
        seen.append(f"{sales} of {counted(evidence.sales, 'sale')}")
    if seen:
        return f"**seen** ({', '.join(seen)})"
    tried = [
        counted(number, thing)
        for number, thing in ((evidence.schedules, "schedule"), (evidence.sales, "sale"))
        if number
    ]
    return f"no violation found ({', '.join(tried)})" if tried else "not tried"


def _schedules(found: Sequence[PairEvidence]) -> list[str]:
    """A line for each schedule, with all that it shows."""
    lines = []
    for each in found:
        shows: dict[str, list[str]] = {}
        for anomaly in ANOMALIES:
            for replay in each.replays(anomaly):
                shows.setdefault(replay, []).append(anomaly)
        lines += [f"- `{each.guard}`: {', '.join(names)}: `{replay}`" for replay, names in shows.items()]
    return lines
