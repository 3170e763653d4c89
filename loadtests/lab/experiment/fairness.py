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
    counts = [bypass_counts(run.invoke_ns[here], run.version[here]) for here in by_event(run, sold)]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)


def bypass_counts(sent: Ints, decided: Ints) -> Ints:
    """For each i, how many j have ``sent[j] > sent[i]`` and ``decided[j] < decided[i]``. O(n log n), vectorised.

    Purchases that were sent or decided at one moment, as a batch is under one version, did not overtake each other.
    """
    in_turn = np.lexsort((sent, decided))  # of those decided at one moment the earlier sent first: they make no pair
    rank = np.empty(len(sent), np.int64)
    rank[np.argsort(sent[in_turn], kind="stable")] = np.arange(len(sent))
    counts = np.empty(len(sent), np.int64)
    counts[in_turn] = larger_before(rank)
    return counts


def larger_before(rank: Ints) -> Ints:
    """For each entry of a permutation of 0 … n-1, how many larger ones stand before it.

    From the highest bit down: entries that agree in all higher bits form a group, in their original order. One with
    the bit unset is passed by every entry of its group before it that has the bit set. Then each group is parted.
    """
    count = np.zeros(len(rank), np.int64)
    order = np.arange(len(rank))
    for bit in reversed(range(int(len(rank) - 1).bit_length() if len(rank) else 0)):
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


def by_event(run: Operations, rows: Ints) -> list[Ints]:
    """The rows of each event."""
    return [rows[run.event[rows] == event] for event in np.unique(run.event[rows])]
