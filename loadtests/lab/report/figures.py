"""The numbers behind a run's report, computed on columns: nothing here looks at operations one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loadtests.lab.experiment.measurement import quantile, span_ns
from loadtests.lab.history.arrays import ABSENT, Floats, Ints
from loadtests.lab.history.history import FAIL, OK, OPS, OUTCOMES, READ, REFUSED, SOLD_OUT
from loadtests.lab.history.operations import Operations
from loadtests.lab.report.timeline import round_step

SHARES = (0.5, 0.9, 0.99, 0.999)
_BUCKETS = 60


@dataclass(frozen=True)
class Distribution:
    """Some times in milliseconds: how many, p50, p90, p99, p99.9 and the longest, nearest rank; and the curve."""

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
    """How many answers each worker process gave, the busiest first, and how even that is."""

    counts: list[tuple[int, int]]
    fairness: float


@dataclass(frozen=True)
class Overtaking:
    """Mutations that were asked for earlier and decided later than others; see ``overtaking``."""

    mutations: int
    overtaken: int
    pairs: int
    worst: int


def distribution(name: str, values: Floats) -> Distribution | None:
    """The distribution of those values that are there; None where there are none."""
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
    """Latency by what was asked and how it ended; operations without an answer have none."""
    kinds = [(op, outcome) for op in range(len(OPS)) for outcome in (OK, SOLD_OUT, REFUSED, FAIL)]
    found = (
        distribution(
            f"{OPS[op]}: {OUTCOMES[outcome].replace('_', ' ')}",
            run.latency_ms[(run.op == op) & (run.outcome == outcome)],
        )
        for op, outcome in kinds
    )
    return [each for each in found if each is not None]


def service_times(run: Operations) -> list[Distribution]:
    """What the service says of itself: waiting for the guard, holding it, in the store; of mutations alone.

    Reads take no guard: their zeros would hide how long the others waited.
    """
    mutations = run.op != READ
    found = (
        distribution(name, times[mutations])
        for name, times in (("wait", run.wait_ms), ("hold", run.hold_ms), ("store", run.store_ms))
    )
    return [each for each in found if each is not None]


def rates(run: Operations) -> list[Rates]:
    """Tickets sold and purchases refused a second, by event; all events have buckets of one width.

    A ticket counts when its buyer had the answer. What was given back later is not taken off: this is throughput.
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
        sales, refusals = rows[sold_at[rows]], rows[(run.outcome[rows] == SOLD_OUT) & run.returned[rows]]
        counted = []
        for chosen, weights in ((sales, run.tickets_sold[sales]), (refusals, np.ones(len(refusals), np.int64))):
            # An operation that says it returned before it began is in the first bucket.
            bucket = np.maximum((run.return_ns[chosen] - begin) / 1e9 / width, 0).astype(np.int64)
            counted.append((np.bincount(bucket, weights, size) / width).tolist())
        found.append(Rates(event, width, *counted))
    return found


def workers(run: Operations) -> Workers | None:
    """The answers by worker process; None where no answer names one."""
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
    """How often a mutation was overtaken between asking and being decided.

    Counted are acknowledged purchases, cancellations, holds, confirmations and releases whose answer names a version,
    each key once, within each event. A pair is counted where one was *asked* earlier (by its client's clock, before
    sending) and has the *later* version; equal versions or equal times are no pair. ``overtaken`` are mutations that
    at least one asked later came before, ``worst`` is by how many the most overtaken one was. That is about fairness,
    not about right: as long as both were under way at once, either order is allowed. None without versions.
    """
    rows = np.flatnonzero((run.op != READ) & (run.outcome == OK) & (run.version != ABSENT) & (run.replayed != 1))
    if not len(rows):
        return None
    overtaken = pairs = worst = 0
    for event in np.unique(run.event[rows]):
        here = rows[run.event[rows] == event]
        here = here[np.lexsort((run.invoke_ns[here], run.version[here]))]  # so that one version makes no pair
        rank = np.empty(len(here), np.int64)
        rank[np.lexsort((np.arange(len(here)), run.invoke_ns[here]))] = np.arange(len(here))
        passed = larger_before(rank)
        overtaken += int((passed > 0).sum())
        pairs += int(passed.sum())
        worst = max(worst, int(passed.max()))
    return Overtaking(len(rows), overtaken, pairs, worst)


def larger_before(rank: Ints) -> Ints:
    """For each entry of a permutation of 0 … n-1, how many larger ones stand before it. O(n log n), vectorised.

    From the highest bit down: entries that agree in all higher bits form a group, in their original order. One with
    the bit unset is passed by every entry of its group before it that has the bit set. Then each group is parted.
    """
    count = np.zeros(len(rank), np.int64)
    order = np.arange(len(rank))
    for bit in reversed(range(max(1, int(len(rank) - 1).bit_length()))):
        values = rank[order]
        set_ = (values >> bit) & 1
        before = np.cumsum(set_) - set_
        group = values >> (bit + 1)
        begins = np.flatnonzero(np.concatenate(([True], np.diff(group) != 0)))
        sizes = np.diff(np.concatenate((begins, [len(rank)])))
        in_group = before - np.repeat(before[begins], sizes)
        count[order[set_ == 0]] += in_group[set_ == 0]
        first = np.repeat(begins, sizes)
        unset_before = np.arange(len(rank)) - first - in_group
        unset = np.repeat(np.add.reduceat(1 - set_, begins), sizes)
        place = first + np.where(set_ == 1, unset + in_group, unset_before)
        parted = np.empty_like(order)
        parted[place] = order
        order = parted
    return count


def nodes(run: Operations) -> list[tuple[int, list[int]]]:
    """How what each node was asked ended, a count for each of ``OUTCOMES``; nothing where there is one node."""
    named = np.unique(run.node[run.node != ABSENT]).tolist()
    return [(node, np.bincount(run.outcome[run.node == node], minlength=len(OUTCOMES)).tolist()) for node in named]


def outcomes(run: Operations) -> Iterator[tuple[str, list[int]]]:
    """How often each operation ended in each way: its name, and a count for each of ``OUTCOMES``."""
    for op, name in enumerate(OPS):
        if (chosen := run.op == op).any():
            yield name, np.bincount(run.outcome[chosen], minlength=len(OUTCOMES)).tolist()
