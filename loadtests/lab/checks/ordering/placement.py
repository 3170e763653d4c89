"""Where each operation stands in the order of mutations, and the means that all ways to find it share.

A mutation of version v, and an observer that was decided on version v, are *placed* at v.

Versions or numbers that must have been committed, but that no acknowledged mutation owns, are *slots* for unknown
purchases. If these are all of one quantity, the j-th slot goes to the j-th by invocation. That is optimal: the
deadline of a slot is the earliest return behind it, so deadlines never decrease along the slots, and exchanging
two purchases that stand against the order of their invocations never hurts. With mixed quantities the same
question is 3-PARTITION: it is not answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import AuditLedger
from loadtests.lab.checks.findings import Findings
from loadtests.lab.history.arrays import ABSENT, Bools, Codes, Ints, Ragged, one_of, pick
from loadtests.lab.history.audit import CANCELLED, CONFIRMED, EXPIRED, HELD, RELEASED, SOLD
from loadtests.lab.history.history import BUY, NOT_TOGETHER, SEAT_TAKEN, SECTION_SOLD_OUT, SOLD_OUT

MOST_FILLED_IN = 10**7
"""The most ticket numbers that are filled in where no answer tells them; where more are missing, none are."""

_KIND_OF_OP = np.array([SOLD, EXPIRED, CANCELLED, HELD, CONFIRMED, RELEASED], np.int8)  # a read is none of these


@dataclass
class Placement:
    """The versions that were found.

    ``version`` is by mutation, ``seen`` by observer (parallel to ``case.observers``), ABSENT where there is none.
    ``at_least`` marks observers whose version is only the lowest that they can have been decided on. ``ledger``
    is None where the order of the mutations is not wholly known. ``findings`` are the contradictions met on the
    way, and the reasons why the history cannot be *valid* by these means.
    """

    tier: str
    weaker_because: str
    version: Ints
    seen: Ints
    at_least: Bools
    ledger: AuditLedger | None = None
    findings: Findings = field(default_factory=Findings)


def unplaced(case: Case, tier: str, weaker_because: str) -> Placement:
    """A placement to start from: the versions that the answers tell, and no ledger."""
    return Placement(
        tier=tier,
        weaker_because=weaker_because,
        version=case.mutations.version.copy(),
        seen=case.history.version[case.observers],
        at_least=np.zeros(len(case.observers), np.bool_),
    )


def told_counts(case: Case, capacity: int) -> tuple[Bools, Bools, Ints]:
    """Which observers show what remains, which were told *sold out* without that, and how many were sold by each.

    By a refusal without a number at least so many were sold that too few were left for it.
    """
    h, rows = case.history, case.observers
    counted = h.remaining[rows] != ABSENT
    refused = (h.outcome[rows] == SOLD_OUT) & ~counted
    return counted, refused, np.where(counted, capacity - h.remaining[rows], capacity - h.quantity[rows] + 1)


def candidates(case: Case) -> Ints:
    """The unknown mutations that can have been committed where nothing is given back.

    A key with an attempt that was told *sold out*, of the event or of its seats, is none: if it had been committed
    before, the first answer was due, and afterwards there were no more places than then.
    """
    m, h = case.mutations, case.history
    told = one_of(h.outcome, SOLD_OUT, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER)
    refused = np.bincount(case.group[(case.group >= 0) & told], minlength=len(m)) > 0
    return np.flatnonzero(m.unknown & ~refused)


def slot_quantity(case: Case, unknown: Ints) -> int | None:
    """The common quantity of these unknown mutations, if all are purchases and have one; else None."""
    m = case.mutations
    quantities = np.unique(m.quantity[unknown])
    return int(quantities[0]) if len(quantities) == 1 and (m.op[unknown] == BUY).all() else None


def fill_slots(case: Case, placement: Placement, unknown: Ints, highest: int) -> None:
    """Place unknown purchases at the versions up to ``highest`` that have no owner, the earliest by invocation first.

    Then the order of the mutations is known.
    """
    owned = placement.version[placement.version != ABSENT]
    slots = np.setdiff1d(np.arange(1, highest + 1), owned, assume_unique=True)
    invoked = pick(case.history.invoke_ns, case.mutations.start[unknown], -1)
    placement.version[unknown[np.argsort(invoked, kind="stable")][: len(slots)]] = slots
    placed = np.flatnonzero(placement.version != ABSENT)
    placement.ledger = derived_ledger(case, placed[np.argsort(placement.version[placed], kind="stable")])


def derived_ledger(case: Case, groups: Ints) -> AuditLedger:
    """The ledger with the mutations ``groups`` at versions 1, 2, …; numbers that nobody told are filled in."""
    m = case.mutations
    kind = _KIND_OF_OP[m.op[groups]]
    quantity = np.where(m.quantity[groups] == ABSENT, 0, m.quantity[groups])
    return AuditLedger(
        capacity=case.capacity,
        versions=len(groups),
        audit=None,
        group=groups,
        version=np.arange(1, len(groups) + 1),
        kind=kind,
        order=m.order[groups],
        hold=m.hold[groups],
        quantity=quantity,
        expires_at=np.full(len(groups), ABSENT),
        tickets=_numbers(case, groups, kind, quantity),
        seats=None if case.seats is None else case.seats.of_mutation.take(groups),
    )


def _numbers(case: Case, groups: Ints, kind: Codes, quantity: Ints) -> Ragged:
    numbered = case.mutations.numbered[groups]
    told = numbered >= 0
    if quantity[~told].sum() > MOST_FILLED_IN:
        told = np.zeros(len(told), np.bool_)  # then nothing is said of numbers: see ``tiers``
    given = case.history.tickets.take(np.maximum(numbered, 0))
    new = np.where(one_of(kind, SOLD, HELD), quantity, 0)
    lengths = np.where(told, given.lengths, new if told.any() else 0)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    numbers = Ragged(offsets, np.repeat(np.cumsum(new) - new + 1, lengths) + within)
    numbers.flat[told[numbers.rows()]] = given.flat[told[given.rows()]]
    return numbers
