"""The targets that were set before anything was measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from loadtests.lab.bench.cells import BATCH, MEASURED
from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import Interval, MeasuredCell, quotient_interval
from loadtests.lab.servers.engines import ENGINES
from service.catalogue import REFERENCE

CLIENTS = 64
_GROWN = 0.95

ByCell = Mapping[tuple[str, str, int], MeasuredCell]
"""The measurements under one worker model, by store, guard and batch."""


class SpeedTarget(msgspec.Struct, frozen=True):
    """A target for a ratio's lower bound, and the ratio that was measured."""

    worker: str
    what: str
    wanted: float
    found: Interval
    by: str = "sales"
    """What ``found`` is a ratio of: sales, or ``CPU`` time for a sale."""

    @property
    def verdict(self) -> str:
        """``yes``, if even the lower bound is there; ``no``; or ``perhaps``, where the interval lies on both sides."""
        return "yes" if self.found.low >= self.wanted else "perhaps" if self.found.high >= self.wanted else "no"

    @property
    def verdict_in_words(self) -> str:
        return self.verdict if self.by == "sales" else f"{self.verdict}, by {self.by}"


def speed_targets(measured: Sequence[MeasuredCell], growth: Sequence[Grown], seed: int) -> list[SpeedTarget]:
    """The targets for which every cell was measured."""
    found: list[SpeedTarget] = []
    for worker in dict.fromkeys(each.worker for each in measured):
        beside = {
            (each.store, each.guard, each.batch): each
            for each in measured
            if each.worker == worker and each.clients == CLIENTS
        }
        if worker != "sync":
            found += _on_engines(worker, beside, seed)
        found += _of_the_reference(worker, beside, seed)
    grown = [row for row in growth if (row.store, row.guard) == REFERENCE and row.orders]
    if grown:
        last = grown[-1]
        found.append(SpeedTarget(last.worker, f"after {last.orders:,} orders, of none", _GROWN, last.ratio))
    return found


def _on_engines(worker: str, beside: ByCell, seed: int) -> Iterator[SpeedTarget]:
    for store, each in [(name, each) for name in ENGINES for each in MEASURED[name]]:
        guard = each.guard
        batched, alone = beside.get((store, guard, BATCH)), beside.get((store, guard, 1))
        if batched is None:
            continue
        if each.of_ceiling is not None:
            yield SpeedTarget(worker, f"{store} + {guard}, of the ceiling", each.of_ceiling, batched.ratio)
        if each.of_one_by_one is not None and alone is not None and min(alone.ratios) > 0:
            quotient = quotient_interval(batched.ratios, alone.ratios, seed)
            yield SpeedTarget(worker, f"{store} + {guard}, batch × one by one", each.of_one_by_one, quotient)


def _of_the_reference(worker: str, beside: ByCell, seed: int) -> Iterator[SpeedTarget]:
    ours = beside.get((*REFERENCE, BATCH))
    if ours is None:
        return
    [own] = [each for each in MEASURED[REFERENCE[0]] if each.guard == REFERENCE[1]]
    of_ceiling = own.of_ceiling_under_sync if worker == "sync" else own.of_ceiling
    yield SpeedTarget(worker, "of the ceiling", of_ceiling or 0.0, ours.ratio)
    for store, each in [(name, each) for name, guards in MEASURED.items() for each in guards]:
        theirs = beside.get((store, each.guard, BATCH))
        if each.reference_sells is not None and theirs is not None and min(theirs.ratios) > 0:
            quotient = quotient_interval(ours.ratios, theirs.ratios, seed)
            yield SpeedTarget(worker, f"× {store} + {each.guard}", each.reference_sells, quotient)
