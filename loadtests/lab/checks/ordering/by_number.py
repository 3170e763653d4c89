"""Tier B: the order of purchases from their ticket numbers, where there are no cancellations and no holds.

Numbers are given out in order, so a sale that starts at number s comes before every sale that starts higher,
and a count of k sold lies behind the sale that ends at k. Where a sale shows only what remained, its last number
is the capacity less that. *Sold out* without a count says only that too few were left: it comes behind the sale
that holds number N − q + 1.

Numbers that must have been sold but that nobody owns are slots for the unknown purchases.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.ordering.placement import (
    Placement,
    candidates,
    derived_ledger,
    fill_slots,
    slot_quantity,
    told_counts,
    unplaced,
)
from loadtests.lab.history.arrays import ABSENT, Ints, Ragged, one_of, pick, same_rows
from loadtests.lab.history.history import BUY, READ


def first_numbers(case: Case) -> Ints:
    """Each mutation's first ticket number: as answered, or from what the answer says remained; else ABSENT."""
    m, h = case.mutations, case.history
    numbers = pick(h.tickets.first(), m.numbered, ABSENT)
    if case.capacity is not None:
        told = (numbers == ABSENT) & (m.remaining != ABSENT)
        numbers = np.where(told, case.capacity - m.remaining - m.quantity + 1, numbers)
    return numbers


def derive(case: Case) -> Placement:
    """Place a case of purchases and reads in which every acknowledged purchase has a number."""
    placement = unplaced(case, "B", "the answers carry no versions")
    placement.version[:] = ABSENT
    placement.seen[:] = ABSENT
    m = case.mutations
    first = first_numbers(case)
    acknowledged = np.flatnonzero(m.acknowledged)
    sales = acknowledged[np.argsort(first[acknowledged], kind="stable")]
    ends = np.concatenate(([0], first[sales] + m.quantity[sales] - 1))
    gaps = first[sales] - ends[:-1] - 1  # numbers without an owner, ahead of each sale
    if _contradicts(case, placement, sales, first, gaps):
        return placement
    behind = max(0, _highest_needed(case) - int(ends[-1]))
    unknown = candidates(case)
    quantity = slot_quantity(case, unknown)
    if len(unknown) < len(gaps[gaps > 0]) or gaps.sum() > m.quantity[unknown].sum():
        _nobody_bought(case, placement, sales, first, gaps)
    elif not len(unknown) or not (gaps.sum() or behind):
        placement.version[sales] = np.arange(1, len(sales) + 1)
        placement.ledger = derived_ledger(case, sales)
    elif quantity is None or not case.one_clock:
        _place_by_number_alone(case, placement, sales, first)
    elif (gaps % quantity).any():
        _nobody_bought(case, placement, sales, first, gaps % quantity)
    else:
        room = len(unknown) - int(gaps.sum()) // quantity
        if case.capacity is not None:
            room = min(room, (case.capacity - int(ends[-1])) // quantity)
        slots = gaps // quantity
        placement.version[sales] = np.cumsum(slots + 1)
        fill_slots(case, placement, unknown, len(sales) + int(slots.sum()) + min(-(-behind // quantity), room))
    return placement


def compare_told(case: Case, placement: Placement) -> None:
    """Where only some sales tell their numbers and none is given back, one beyond the capacity is still wrong."""
    h, m, capacity = case.history, case.mutations, case.capacity
    if placement.tier == "B" or capacity is None or not one_of(h.op, BUY, READ).all():
        return
    told = np.flatnonzero(m.numbered >= 0)
    given = h.tickets.take(m.numbered[told])
    beyond = np.unique(given.rows()[given.flat > capacity])
    placement.findings.add(
        "over-recorded",
        beyond,
        lambda i: case.evidence(f"number {max(given.row(i))} was sold, of {capacity}", m.numbered[told[i]]),
    )


def _highest_needed(case: Case) -> int:
    """The highest number that must have been sold to explain the observers."""
    if case.capacity is None:
        return 0
    counted, refused, sold = told_counts(case, case.capacity)
    return int(sold[(counted | refused) & (sold <= case.capacity)].max(initial=0))


def _counted(case: Case, mutation: int) -> str:
    """What is to be said beside a number that no answer showed."""
    return "" if case.mutations.numbered[mutation] >= 0 else ", by what both answers say is left"


def _contradicts(case: Case, placement: Placement, sales: Ints, first: Ints, gaps: Ints) -> bool:
    """Impossible numbers: given twice, outside the block that they start, or beyond the capacity."""
    h, m = case.history, case.mutations
    add = placement.findings.add
    answer = m.answer
    add(
        "duplicate",
        np.flatnonzero(gaps[1:] < 0) + 1,
        lambda i: case.evidence(
            f"ticket number {first[sales[i]]} was given to two sales{_counted(case, sales[i])}",
            answer[sales[i - 1]],
            answer[sales[i]],
        ),
    )
    given = h.tickets.take(np.maximum(m.numbered[sales], 0))
    told = np.flatnonzero(m.numbered[sales] >= 0)
    # Not of those that have another number of numbers: what they say of themselves may be beyond all memory.
    as_many = told[given.lengths[told] == m.quantity[sales[told]]]
    offsets = np.concatenate(([0], np.cumsum(m.quantity[sales[as_many]])))
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    block = Ragged(offsets, np.repeat(first[sales[as_many]], np.diff(offsets)) + within)
    out_of_order = np.zeros(len(sales), np.bool_)
    out_of_order[told] = True
    out_of_order[as_many] = ~same_rows(given.take(as_many), block)
    add(
        "gap",
        np.flatnonzero(out_of_order | (first[sales] < 1)),
        lambda i: case.evidence(
            f"its {m.quantity[sales[i]]} numbers are not in a row from 1 on: {given.row(i) or first[sales[i]]}",
            answer[sales[i]],
        ),
    )
    if case.capacity is not None:
        add(
            "over-recorded",
            np.flatnonzero(first[sales] + m.quantity[sales] - 1 > case.capacity),
            lambda i: case.evidence(
                f"number {first[sales[i]] + m.quantity[sales[i]] - 1} was sold, of {case.capacity}", answer[sales[i]]
            ),
        )
    return placement.findings.count > 0


def _nobody_bought(case: Case, placement: Placement, sales: Ints, first: Ints, gaps: Ints) -> None:
    placement.findings.add(
        "phantom",
        np.flatnonzero(gaps > 0),
        lambda i: case.evidence(
            f"the numbers just below {first[sales[i]]} must have been sold, but no purchase that may own them fits",
            case.mutations.answer[sales[i]],
        ),
    )


def _place_by_number_alone(case: Case, placement: Placement, sales: Ints, first: Ints) -> None:
    """Place what has a number at that number: enough to refute, not enough for *valid*."""
    h, rows = case.history, case.observers
    quantity = case.mutations.quantity[sales]
    placement.version[sales] = first[sales]
    placement.findings.undecided.append(
        "the audit is missing: which unknown purchases own the numbers that nobody was told cannot be decided"
    )
    if case.capacity is None:
        return
    counted, refused, sold = told_counts(case, case.capacity)
    block = np.searchsorted(first[sales], sold, side="right") - 1
    end = np.concatenate((first[sales] + quantity - 1, [0]))[block]  # block -1 is before all sales
    placement.findings.add(
        "wrong read",
        np.flatnonzero(counted & ((sold < 0) | (sold > case.capacity))),
        lambda i: case.evidence(f"it shows {h.remaining[rows[i]]} remaining of {case.capacity}", rows[i]),
    )
    placement.findings.add(
        "torn read",
        np.flatnonzero(counted & (block >= 0) & (sold < end)),
        lambda i: case.evidence(
            f"{sold[i]} sold lies inside one sale, which ends at {end[i]}",
            rows[i],
            case.mutations.answer[sales[block[i]]],
        ),
    )
    placement.seen = np.where(counted | refused, np.maximum(sold, np.where(refused, end, 0)), ABSENT)
    placement.at_least = refused
