"""Bounds what has no place in the order: by what had surely happened, and by what can have happened.

Each answer is bounded alone, which is sound and far from complete: it can refute, and never finds valid.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import ABSENT, NEVER, Ints, one_of, pick
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, RELEASE, SOLD_OUT


def check(case: Case, placement: Placement) -> Findings:
    """Bound the places that were taken while an unplaced read or refusal was under way."""
    findings = Findings()
    h, capacity = case.history, case.capacity
    rows = case.observers[placement.seen == ABSENT]
    shows = (h.remaining[rows] != ABSENT) | ((h.outcome[rows] == SOLD_OUT) & one_of(h.op[rows], BUY, HOLD))
    rows = rows[shows]
    # Where an admin changed it, nobody knows which capacity a look at a time met.
    if capacity is None or capacity != case.most or not len(rows) or not case.one_clock:
        return Findings(applies=False)
    least, most = _taken(case, capacity, h.invoke_ns[rows], h.return_ns[rows])
    taken = capacity - h.remaining[rows]
    counted = h.remaining[rows] != ABSENT
    findings.add(
        "wrong read",
        np.flatnonzero(counted & ((taken < least) | (taken > most))),
        lambda i: case.evidence(
            f"it shows {h.remaining[rows[i]]} remaining; while it was under way there were between "
            f"{capacity - most[i]} and {capacity - least[i]}",
            rows[i],
        ),
    )
    most_known = np.where(counted, np.minimum(taken, most), most)
    findings.add(
        "false sold-out",
        np.flatnonzero(
            (h.outcome[rows] == SOLD_OUT) & (h.quantity[rows] > 0) & (most_known + h.quantity[rows] <= capacity)
        ),
        lambda i: case.evidence(
            f"{h.quantity[rows[i]]} were refused; while it was under way at least {capacity - most[i]} were there",
            rows[i],
        ),
    )
    return findings


def _taken(case: Case, capacity: int, invoke: Ints, returned: Ints) -> tuple[Ints, Ints]:
    """The fewest and the most places that can have been taken at some instant of each interval.

    A hold may expire at any time, so only its confirmation surely takes its places; it takes them at most once.
    """
    h, m = case.history, case.mutations
    quantity = np.maximum(m.quantity, 0)
    at_most = np.where(m.quantity < 0, capacity, m.quantity)
    acknowledged = m.acknowledged
    begin = pick(h.invoke_ns, m.start, -1)
    end = pick(h.return_ns, m.answer, NEVER)
    takes = one_of(m.op, BUY, HOLD) | ((m.op == CONFIRM) & ~np.isin(m.hold, m.hold[m.op == HOLD]))
    keeps = one_of(m.op, BUY, CONFIRM)
    gives = one_of(m.op, CANCEL, RELEASE)
    surely_kept = _sum_before(end[keeps & acknowledged], quantity[keeps & acknowledged], invoke)
    maybe_cancelled = _sum_before(
        begin[(m.op == CANCEL) & m.possible], quantity[(m.op == CANCEL) & m.possible], returned + 1
    )
    maybe_taken = _sum_before(begin[takes & m.possible], at_most[takes & m.possible], returned + 1)
    surely_given = _sum_before(end[gives & acknowledged], quantity[gives & acknowledged], invoke)
    least = np.maximum(surely_kept - maybe_cancelled, 0)
    return least, np.minimum(maybe_taken - surely_given, capacity)


def _sum_before(time: Ints, quantity: Ints, moment: Ints) -> Ints:
    """The sum of the quantities whose time is before each moment."""
    order = np.argsort(time, kind="stable")
    sums = np.concatenate(([0], np.cumsum(quantity[order])))
    return sums[np.searchsorted(time[order], moment)]
