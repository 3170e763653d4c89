"""The tiers: by which means the operations of a case are placed, and why not by stronger ones.

- tier A: versions in the answers, and the audit for what they do not tell. Without an audit the answers are
  enough if every version up to the highest that anybody saw is theirs (``by_version``).
- tier B: ticket numbers (``by_number``).
- tier C: nothing can be placed; there are bare counts (``counters``).
- bounds: what is placed is checked, the rest is bounded (``bounds``), and the verdict is *unknown* at best.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering import by_number, by_version
from loadtests.lab.checks.ordering.placement import Placement, told_counts, unplaced
from loadtests.lab.history.arrays import ABSENT, Bools, one_of, pick
from loadtests.lab.history.history import BUY, HOLD, NOT_TOGETHER, READ, REFUSED, SEAT_TAKEN, SECTION_SOLD_OUT, SOLD_OUT


def place(case: Case) -> Placement:
    """Place the operations of a case by the strongest means that it allows."""
    m, h = case.mutations, case.history
    acknowledged = m.acknowledged
    if case.audit is not None:
        placement = _by_audit(case)
    elif (h.version != ABSENT).any() and (m.version[acknowledged] != ABSENT).all():
        placement = by_version.derive(case)
    elif not one_of(h.op, BUY, READ).all():
        placement = unplaced(case, "bounds", "versions are missing, and there are cancellations or holds")
    elif (by_number.first_numbers(case)[acknowledged] != ABSENT).all():
        placement = by_number.derive(case)
    elif (h.quantity[_asking(case)] == 1).all():
        placement = unplaced(case, "C", "the answers carry neither versions nor ticket numbers")
    else:
        why = "purchases are of several tickets, and their answers show no version, no ticket numbers, not what is left"
        placement = unplaced(case, "bounds", why)
    if case.audit is None and placement.tier != "A":
        # One answer that tells nothing must not hide what the others tell.
        by_version.compare_told(case, placement)
        by_number.compare_told(case, placement)
    _place_observers(case, placement)
    _say_what_is_undecided(case, placement)
    return placement


def _asking(case: Case) -> Bools:
    """Purchases that say something of the event: not such as were refused for their seats."""
    buys: Bools = case.history.op == BUY
    buys[case.bare] = False
    return buys


def _by_audit(case: Case) -> Placement:
    placement = unplaced(case, "A", "")
    m, audit = case.mutations, case.audit
    if audit is None:
        raise ValueError("a case without an audit cannot be placed by it")
    record = audit.record_of(len(m))
    from_audit = np.flatnonzero((placement.version == ABSENT) & (record >= 0))
    placement.version[from_audit] = audit.version[record[from_audit]]
    placement.ledger = audit
    keyless = int(((case.history.key[m.row] < 0) & m.possible).sum())
    if keyless:
        placement.findings.undecided.append(
            f"{keyless} mutations have no key, so the audit cannot be searched for them"
        )
    return placement


def _place_observers(case: Case, placement: Placement) -> None:
    """Place observers without a version by what they counted, where the count tells.

    If every record takes places and none gives any back, each count occurs at one version only. Versions alone do
    not tell what unknown mutations and expiries did after the last version that anybody saw.
    """
    ledger, m = placement.ledger, case.mutations
    if placement.tier == "A" and case.audit is None and (m.unknown | ((m.op == HOLD) & m.possible)).any():
        return
    if ledger is None or case.capacity is None or not ledger.whole or not ledger.gives.all():
        return
    h, rows = case.history, case.observers
    taken = ledger.sold + ledger.held
    unplaced_yet = placement.seen == ABSENT
    counted, refused, count = told_counts(case, case.capacity)
    counted, refused = counted & unplaced_yet, refused & unplaced_yet
    version = np.searchsorted(taken, count)
    there = version < len(taken)
    exact = there & (pick(taken, version, -1) == count)
    placement.seen = np.where((counted & exact) | (refused & there), version, placement.seen)
    placement.at_least = refused & there
    placement.findings.add(
        "torn read",
        np.flatnonzero(counted & ~exact),
        lambda i: case.evidence(
            f"the answer shows {h.remaining[rows[i]]} remaining, and there never were just so many", rows[i]
        ),
    )
    placement.findings.add(
        "false sold-out",
        np.flatnonzero(refused & ~there),
        lambda i: case.evidence(
            f"{h.quantity[rows[i]]} were refused, and at no time were fewer than that left: "
            f"{taken[-1]} of {case.capacity} were taken at the end",
            rows[i],
        ),
    )


def check(case: Case, placement: Placement) -> Findings:
    """The contradictions found while the operations were placed."""
    return placement.findings


def _say_what_is_undecided(case: Case, placement: Placement) -> None:
    h, rows = case.history, case.observers
    if case.capacity is None:
        placement.findings.undecided.append("the capacity is unknown: neither an audit nor the caller names it")
    m = case.mutations
    if placement.tier in ("B", "C") and (h.version != ABSENT).any():
        # Where no purchase tells its version, those of the reads place nothing: without them as much would be decided.
        told = (m.acknowledged & (m.version != ABSENT)).any()
        remarks = placement.findings.undecided if told else placement.findings.notes
        remarks.append("some answers carry versions and others do not: they were left out")
    if placement.tier == "C":
        if ((m.numbered >= 0) | (m.remaining != ABSENT)).any():
            placement.findings.undecided.append("some sales tell their numbers and others do not: they were left out")
        return
    ledger = placement.ledger
    if ledger is not None and ledger.audit is None and (m.numbered >= 0).any() and not len(ledger.tickets.flat):
        placement.findings.undecided.append("too many tickets were sold without their numbers to look at the others'")
    homeless = int((m.acknowledged & (placement.version == ABSENT)).sum())
    if homeless:
        placement.findings.undecided.append(
            f"{homeless} acknowledged mutations have no place: {placement.weaker_because}"
        )
    refused = one_of(h.outcome[rows], SOLD_OUT, REFUSED, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER)
    tells = refused | (h.remaining[rows] != ABSENT)
    blind = int((tells & (placement.seen == ABSENT)).sum())
    if blind:
        placement.findings.undecided.append(
            f"{blind} reads or refusals show no version, and what they show does not tell it"
        )
