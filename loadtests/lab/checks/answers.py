"""From the buyers' answers alone, whatever the store believes: oversold and double-booked.

A document that is rewritten as a whole always looks right: after a lost update it says 200 sold of 200 while 524
buyers have an answer. Only the buyers can tell.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.placement import Placement
from loadtests.lab.checks.verdict import EventCounts
from loadtests.lab.columns import ABSENT, Ints
from loadtests.lab.history import BUY, CANCEL, CONFIRM, HOLD, OK


def check(case: Case, placement: Placement) -> Findings:
    """Compare the tickets acknowledged with the capacity, and their numbers with each other."""
    findings = Findings()
    _oversold(case, findings)
    _double_booked(case, findings)
    return findings


def counts(case: Case, tier: str) -> EventCounts:
    """An event in numbers. Orders are lost where the audit has no record of their key."""
    m = case.mutations
    acknowledged = int(_standing(case)[1].sum())
    number, _, order, _ = _shared_numbers(case)
    pairs = np.unique(np.stack((number, order))[:, order >= 0], axis=1)
    lost = None
    if case.audit is not None:
        orders = np.isin(m.op, (BUY, CONFIRM)) & m.acknowledged & (case.history.key[m.row] >= 0)
        lost = int((orders & (case.audit.record_of(len(m)) < 0)).sum())
    return EventCounts(
        capacity=case.capacity,
        acknowledged=acknowledged,
        oversold=0 if case.capacity is None else max(0, acknowledged - case.capacity),
        double_booked=int((np.unique(pairs[0], return_counts=True)[1] > 1).sum()),
        lost=lost,
        tier=tier,
    )


def _standing(case: Case) -> tuple[Ints, Ints]:
    """Acknowledged orders that were surely not cancelled, and their tickets.

    A cancellation that is unknown may have happened. One whose order nobody was told may be of any order
    that was answered without an id: the largest of those are taken out for it.
    """
    h, m = case.history, case.mutations
    orders = np.flatnonzero(np.isin(m.op, (BUY, CONFIRM)) & m.acknowledged)
    given = h.tickets.lengths[m.answer[orders]]
    tickets = np.maximum(np.where(given > 0, given, m.quantity[orders]), 0)
    cancelled = np.unique(m.order[(m.op == CANCEL) & m.possible])
    nameless = np.flatnonzero(m.order[orders] < 0)
    unmatched = len(np.setdiff1d(cancelled, m.order[orders]))
    stands = ~np.isin(m.order[orders], cancelled) | (m.order[orders] < 0)
    stands[nameless[np.argsort(-tickets[nameless], kind="stable")][:unmatched]] = False
    return orders[stands], tickets[stands]


def _oversold(case: Case, findings: Findings) -> None:
    h, m, capacity = case.history, case.mutations, case.capacity
    orders, tickets = _standing(case)
    if capacity is None or tickets.sum() <= capacity:
        return
    in_order = np.lexsort((h.return_ns[m.answer[orders]], m.version[orders]))
    orders, total = orders[in_order], np.cumsum(tickets[in_order])
    version = m.version[orders]
    twins = np.flatnonzero((version[1:] == version[:-1]) & (version[1:] != ABSENT))

    def explain(at: int) -> Evidence:
        text = f"{total[-1]} tickets were acknowledged, of {capacity}; the first sale passed the capacity"
        rows = [m.answer[orders[at]]]
        if len(twins):
            text += ", the other two were decided on the same version"
            rows += [m.answer[orders[twins[0]]], m.answer[orders[twins[0] + 1]]]
        return text, [case.operation(int(row)) for row in rows], []

    crossing = np.flatnonzero(total > capacity)[:1]
    findings.add("oversold", crossing, explain, count=int(total[-1]) - capacity)


def _double_booked(case: Case, findings: Findings) -> None:
    """A number that two orders have, or a hold and an order that is not its own, or two holds."""
    m = case.mutations
    number, owner, order, mutation = _shared_numbers(case)
    in_order = np.lexsort((order, owner, number))
    a, b = in_order[:-1], in_order[1:]
    clash = (number[a] == number[b]) & ((owner[a] != owner[b]) | ((order[a] != order[b]) & (order[a] >= 0)))
    a, b = a[clash], b[clash]
    _, first = np.unique(number[b], return_index=True)
    findings.add(
        "double-booked",
        first,
        lambda at: (
            f"ticket number {number[a[at]]} was acknowledged to both",
            [case.operation(int(m.answer[mutation[entry]])) for entry in (a[at], b[at])],
            [],
        ),
    )


def _shared_numbers(case: Case) -> tuple[Ints, Ints, Ints, Ints]:
    """Ticket numbers that stand in more than one answer: number, owner, order and mutation of each occurrence.

    The owner of a hold's numbers is the hold, and so it is of those in its confirmation. Only orders have an
    order, which is their mutation; it is -1 for holds.
    """
    h, m = case.history, case.mutations
    rows = np.flatnonzero((h.outcome == OK) & np.isin(h.op, (BUY, HOLD, CONFIRM)))
    given = h.tickets.take(rows)
    ordered = np.sort(given.flat)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    entries = np.flatnonzero(np.isin(given.flat, repeated)) if len(repeated) else np.zeros(0, np.int64)
    number = given.flat[entries]
    mutation = case.group[rows[given.rows()[entries]]]
    of_hold = np.isin(m.op[mutation], (HOLD, CONFIRM)) & (m.hold[mutation] >= 0)
    owner = np.where(of_hold, len(m) + m.hold[mutation], mutation)
    order = np.where(m.op[mutation] == HOLD, -1, mutation)
    return number, owner, order, mutation
