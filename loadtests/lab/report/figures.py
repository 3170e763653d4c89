"""The figures of a run's report, computed on whole columns for speed, never operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from loadtests.lab.experiment.fairness import by_event, bypass_counts
from loadtests.lab.experiment.measurement import quantile, span_ns
from loadtests.lab.history.arrays import ABSENT, Bools, Floats, one_of
from loadtests.lab.history.history import (
    FAIL,
    OK,
    OPS,
    OUTCOMES,
    READ,
    REFUSED,
    TICKETS_REFUSED,
    UNKNOWN,
)
from loadtests.lab.history.operations import Operations
from loadtests.lab.report.svg.chart import round_step

SHARES = (0.5, 0.9, 0.99, 0.999)
_BUCKETS = 60


@dataclass(frozen=True)
class Distribution:
    """A distribution of times in milliseconds: count, p50, p90, p99 and p99.9 by nearest rank, longest, and curve."""

    name: str
    count: int
    quantiles: list[float]
    longest: float
    curve: list[tuple[float, float]]
    """Points (share, ms), dense towards the slow end; the last is the longest at share 1 - 1 / (2 · count)."""


@dataclass(frozen=True)
class Rates:
    """Tickets sold and purchases refused a second, of one event: ``values[i]`` in the bucket that ends at i + 1."""

    event: str
    width_s: float
    sold: list[float]
    refused: list[float]


@dataclass(frozen=True)
class Workers:
    """The number of answers of each worker process, the busiest first, and Jain's fairness index of them."""

    counts: list[tuple[int, int]]
    fairness: float


@dataclass(frozen=True)
class Overtaking:
    """Counts of mutations that were sent earlier and decided later than others; see ``overtaking``."""

    mutations: int
    overtaken: int
    pairs: int
    worst: int


_ANSWERS = (OK, *TICKETS_REFUSED, REFUSED, FAIL)


def distribution(name: str, values: Floats) -> Distribution | None:
    """The distribution of the values that are not NaN; None if there are none."""
    values = np.sort(values[~np.isnan(values)])
    count = len(values)
    if not count:
        return None
    slowest = 1 - 1 / (2 * count)
    shares = 1 - np.geomspace(1, 1 / (2 * count), 90)
    at = np.minimum((shares * count).astype(np.int64), count - 1)
    curve = [(float(share), float(value)) for share, value in zip(shares, values[at], strict=True)]
    quantiles = [quantile(values, share) or 0.0 for share in SHARES]
    return Distribution(name, count, quantiles, float(values[-1]), [*curve, (slowest, float(values[-1]))])


def latencies(run: Operations) -> list[Distribution]:
    """Latency by operation and outcome; operations without an answer have none."""
    kinds = [(op, outcome) for op in range(len(OPS)) for outcome in _ANSWERS]
    return _distributions(
        (f"{OPS[op]}: {OUTCOMES[outcome].replace('_', ' ')}", run.latency_ms[(run.op == op) & (run.outcome == outcome)])
        for op, outcome in kinds
    )


def service_times(run: Operations) -> list[Distribution]:
    """The times that the service reports about mutations: waiting for the guard, holding it, in the store.

    Reads take no guard; their zeros would hide how long the others waited.
    """
    times = {"wait": run.wait_ms, "hold": run.hold_ms, "store": run.store_ms}
    return _distributions((name, values[run.op != READ]) for name, values in times.items())


def _distributions(named: Iterable[tuple[str, Floats]]) -> list[Distribution]:
    return [found for name, values in named if (found := distribution(name, values)) is not None]


def rates(run: Operations) -> list[Rates]:
    """Tickets sold and purchases refused a second, by event; all events have buckets of one width.

    A ticket counts at the moment of its buyer's answer. Tickets given back later still count: this is throughput.
    """
    events = run.events()
    spans = [span_ns(run, rows) for _, rows in events]
    longest = max((end - begin for begin, end in spans), default=0)
    width = round_step(max(longest, 1) / 1e9 / _BUCKETS)
    sold_at = np.zeros(len(run), np.bool_)
    sold_at[run.sales] = True
    found = []
    for (event, rows), (begin, end) in zip(events, spans, strict=True):
        size = int((end - begin) / 1e9 / width) + 1
        sales, refusals = rows[sold_at[rows]], rows[one_of(run.outcome[rows], *TICKETS_REFUSED) & run.returned[rows]]
        counted = []
        for chosen, weights in ((sales, run.tickets_sold[sales]), (refusals, np.ones(len(refusals), np.int64))):
            # An operation that claims to have returned before it began counts in the first bucket.
            bucket = np.maximum((run.return_ns[chosen] - begin) / 1e9 / width, 0).astype(np.int64)
            counted.append((np.bincount(bucket, weights, size) / width).tolist())
        found.append(Rates(event, width, *counted))
    return found


def workers(run: Operations) -> Workers | None:
    """The answers by worker process; None if no answer names one."""
    named = run.worker[run.worker != ABSENT]
    if not len(named):
        return None
    process, count = np.unique(named, return_counts=True)
    order = np.argsort(-count, kind="stable")
    counts = list(zip(process[order].tolist(), count[order].tolist(), strict=True))
    return Workers(counts, jain(count.astype(np.float64)))


def jain(shares: Floats) -> float:
    """Jain's fairness index, (Σx)² / (n · Σx²): 1 where all have the same, 1/n where one has everything.

    R. Jain, D. Chiu, W. Hawe, "A Quantitative Measure of Fairness and Discrimination", DEC TR-301, 1984. A process
    that answered nothing at all is not in the history, and so not in ``shares``.
    """
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0


def overtaking(run: Operations) -> Overtaking | None:
    """The mutations that were overtaken between being sent and being decided; None without versions.

    This counts acknowledged purchases, cancellations, holds, confirmations and releases whose answer names a version,
    each key once, within each event. Two of them are a pair if one was sent *earlier* (by its client's clock) and has
    the *later* version; equal versions or equal times make no pair. ``overtaken`` counts the mutations that were
    overtaken at all, ``worst`` is the largest number by which one was. That is a matter of fairness, not of
    correctness: as long as both were under way at once, either order is allowed.
    """
    rows = np.flatnonzero((run.op != READ) & (run.outcome == OK) & (run.version != ABSENT) & (run.replayed != 1))
    if not len(rows):
        return None
    counts = np.concatenate([bypass_counts(run.invoke_ns[here], run.version[here]) for here in by_event(run, rows)])
    return Overtaking(len(rows), int((counts > 0).sum()), int(counts.sum()), int(counts.max()))


def nodes(run: Operations) -> list[tuple[int, list[int]]]:
    """The outcomes at each node, a count for each of ``kinds``; empty if no answer names a node."""
    named = np.unique(run.node[run.node != ABSENT]).tolist()
    return [(node, _counts(run, run.node == node)) for node in named]


def kinds(run: Operations) -> list[int]:
    """The outcomes that a run can have had: those of seats only where some operation had them."""
    return [kind for kind in range(len(OUTCOMES)) if kind <= UNKNOWN or (run.outcome == kind).any()]


def outcomes(run: Operations) -> Iterator[tuple[str, list[int]]]:
    """The outcomes of each operation: its name, and a count for each of ``kinds``."""
    for op, name in enumerate(OPS):
        if (chosen := run.op == op).any():
            yield name, _counts(run, chosen)


def _counts(run: Operations, chosen: Bools) -> list[int]:
    counts = np.bincount(run.outcome[chosen], minlength=len(OUTCOMES))
    return [int(counts[kind]) for kind in kinds(run)]
