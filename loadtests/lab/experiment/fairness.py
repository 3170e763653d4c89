"""How fairly buyers of one event were served who came at the same time; no guard promises fairness.

A purchase is *overtaken* by each one that was sent later and decided earlier (its bypass count). First come, first
served has none. The buyers' clock says when a purchase was sent, and the version in its answer when it was decided, so
overtaking on the way to the service counts too.
"""

from __future__ import annotations

import msgspec
import numpy as np

from loadtests.lab.history.arrays import Ints
from loadtests.lab.history.history import BUY
from loadtests.lab.history.operations import Operations


class Fairness(msgspec.Struct):
    """Figures of acknowledged purchases; None where none had a version."""

    overtaken_p50: int | None = None
    overtaken_max: int | None = None
    p999_over_p50: float | None = None
    """The slowest thousandth's time over the median's. With fewer than 1,000 purchases it is the slowest one's."""


def overtaken(run: Operations) -> Ints:
    """For each acknowledged purchase with a version, how many of the same event overtook it."""
    sold = run.sales[(run.op[run.sales] == BUY) & (run.version[run.sales] >= 0)]
    counts = [bypass_counts(run.invoke_ns[here], run.version[here]) for here in _by_event(run, sold)]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)


def bypass_counts(sent: Ints, decided: Ints) -> Ints:
    """For each i, how many j have ``sent[j] > sent[i]`` and ``decided[j] < decided[i]``. O(n log² n).

    Purchases that were sent or decided at one moment, as a batch is under one version, did not overtake each other. It
    counts inversions by merging, bottom up: at each width the right half of each block is counted against the left.
    """
    count = len(sent)
    # Purchases sent at one moment are ordered by decision, so that none of them counts against another.
    order = np.lexsort((decided, sent))
    ranks = np.unique(decided[order], return_inverse=True)[1].astype(np.int64)
    index = np.arange(count)
    found = np.zeros(count, np.int64)
    width = 1
    while width < count:
        block, right = index // (2 * width), index // width % 2
        # Left before right where they are equal: only what is truly smaller stands before.
        sorted_ = np.lexsort((right, ranks, block))
        before = np.cumsum(right[sorted_])
        starts = np.searchsorted(block[sorted_], block[sorted_])
        base = np.where(starts > 0, before[starts - 1], 0)
        is_left = right[sorted_] == 0
        found[sorted_[is_left]] += (before - base)[is_left]
        width *= 2
    back = np.empty(count, np.int64)
    back[order] = found
    return back


def _by_event(run: Operations, rows: Ints) -> list[Ints]:
    return [rows[run.event[rows] == event] for event in np.unique(run.event[rows])]
