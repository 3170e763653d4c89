"""The marks that were set before anything was measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from loadtests.lab.bench.cells import BATCH, PLAIN
from loadtests.lab.bench.figures import Interval, quotient_interval
from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import Measured

CLIENTS = 64
_OF_CEILING = {"gthread": 0.85, "gevent": 0.85, "sync": 0.70}
_OF_CEILING_ON_AN_ENGINE = {("redis", "atomic"): 0.7, ("postgres", "row"): 0.5}
_BATCHED = 4.0
_GROWN = 0.95


class Mark(msgspec.Struct, frozen=True):
    """What was wanted of a ratio's lower bound, and the ratio."""

    worker: str
    what: str
    wanted: float
    found: Interval

    @property
    def reached(self) -> bool:
        """Whether even the lower bound is there."""
        return self.found.low >= self.wanted

    @property
    def verdict(self) -> str:
        """``yes``; ``no``; or ``perhaps``, where the interval lies on both sides."""
        return "yes" if self.reached else "perhaps" if self.found.high >= self.wanted else "no"


def marks(measured: Sequence[Measured], growth: Sequence[Grown], seed: int) -> list[Mark]:
    """The marks of which everything was measured."""
    found: list[Mark] = []
    for worker in dict.fromkeys(each.worker for each in measured):
        beside = {
            (each.store, each.guard, each.batch, each.orders): each
            for each in measured
            if each.worker == worker and each.clients == CLIENTS
        }
        if worker != "sync":
            found += _on_engines(worker, beside, seed)
        journal = beside.get(("journal", "file", BATCH, 0))
        if journal is None:
            continue
        found.append(Mark(worker, "of the ceiling", _OF_CEILING.get(worker, 0.0), journal.ratio))
        for what, wanted, other in (
            ("× plain, a counter", 2.0, beside.get((PLAIN, "filelock", 1, 0))),
            ("× plain, 1,000 orders", 4.0, beside.get((PLAIN, "filelock", 1, 1000))),
            ("× sqlite + immediate", 1.5, beside.get(("sqlite", "immediate", BATCH, 0))),
            ("× redis + atomic", 1.0, beside.get(("redis", "atomic", BATCH, 0))),
            ("× postgres + row", 1.0, beside.get(("postgres", "row", BATCH, 0))),
        ):
            if other is not None and min(other.ratios) > 0:
                found.append(Mark(worker, what, wanted, quotient_interval(journal.ratios, other.ratios, seed)))
    grown = [row for row in growth if row.store == "journal" and row.orders]
    if grown:
        found.append(Mark(grown[-1].worker, f"after {grown[-1].orders:,} orders, of none", _GROWN, grown[-1].ratio))
    return found


def _on_engines(worker: str, beside: Mapping[tuple[str, str, int, int], Measured], seed: int) -> Iterator[Mark]:
    for (store, guard), wanted in _OF_CEILING_ON_AN_ENGINE.items():
        batched, alone = beside.get((store, guard, BATCH, 0)), beside.get((store, guard, 1, 0))
        if batched is None:
            continue
        yield Mark(worker, f"{store} + {guard}, of the ceiling", wanted, batched.ratio)
        if store == "postgres" and alone is not None and min(alone.ratios) > 0:
            quotient = quotient_interval(batched.ratios, alone.ratios, seed)
            yield Mark(worker, f"{store} + {guard}, batch × one by one", _BATCHED, quotient)
