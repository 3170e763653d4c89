"""From the buyers' answers alone, whatever the store believes: oversold and double-booked.

A document that is rewritten as a whole always looks right: after a lost update it says 200 sold of 200 while 524
buyers have an answer. Only the buyers' answers show it.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats.answers import sold_twice
from loadtests.lab.checks.verdict import EventCounts
from loadtests.lab.history.arrays import ABSENT, NEVER, Bools, Ints, lookup, one_of, pick
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM


def check(case: Case, placement: Placement) -> Findings:
    """Compare the tickets acknowledged with the capacity, and their numbers with each other."""
    findings = Findings()
    _oversold(case, findings)
    _double_booked(case, findings)
    return findings


def counts(case: Case, tier: str) -> EventCounts:
    """An event in numbers. Orders are lost where the audit has no record of their key."""
    m = case.mutations
    standing, tickets = _standing(case)
    acknowledged = int(tickets.sum())
    repeated = case.repeated_numbers
    number, order = np.unique(np.stack((repeated.number, repeated.order))[:, repeated.order >= 0], axis=1)
    twice = (number[1:] == number[:-1]) & ~_one_after_the_other(case, order[:-1], order[1:])
    lost = None
    if case.audit is not None:
        orders = one_of(m.op, BUY, CONFIRM) & m.acknowledged & (case.history.key[m.row] >= 0)
        lost = int((orders & (case.audit.record_of(len(m)) < 0)).sum())
    return EventCounts(
        capacity=case.most,
        acknowledged=acknowledged,
        oversold=0 if case.most is None else max(0, acknowledged - case.most),
        double_booked=len(np.unique(number[1:][twice])),
        lost=lost,
        tier=tier,
        seats_sold_twice=len(np.unique(sold_twice(case).seat)),
        seats_sold=None if case.seats is None else len(np.unique(case.seats.of_mutation.take(standing).flat)),
    )


def _one_after_the_other(case: Case, one: Ints, other: Ints) -> Bools:
    """Of pairs of mutations, whether the first may have been given back before the second was answered, or vice versa.

    A service that numbers its seats sells the number of a seat again that was given back. One that tells versions, or
    has an audit, keeps the contract, in which no number is given twice.
    """
    h, m = case.history, case.mutations
    if case.audit is not None or (h.version != ABSENT).any():
        return np.zeros(len(one), np.bool_)
    cancels = np.flatnonzero((m.op == CANCEL) & m.possible & (m.order >= 0))
    back_from = np.full(h.orders.bound, NEVER)
    np.minimum.at(back_from, m.order[cancels], pick(h.invoke_ns, m.start[cancels], -1))
    # Times of several machines do not compare: then what was given back at all may have been so before.
    returned = h.return_ns if case.one_clock else np.full(len(h), NEVER - 1)

    def is_back(a: Ints, b: Ints) -> Bools:
        return pick(back_from, m.order[a], NEVER) < pick(returned, m.answer[b], NEVER)

    return is_back(one, other) | is_back(other, one)


def _standing(case: Case) -> tuple[Ints, Ints]:
    """Acknowledged orders that were surely not cancelled, and their tickets.

    A cancellation that is unknown may have happened. One whose order nobody was told may be of any order
    that was answered without an id: the largest of those are taken out for it.
    """
    h, m = case.history, case.mutations
    orders = np.flatnonzero(one_of(m.op, BUY, CONFIRM) & m.acknowledged)
    given = pick(h.tickets.lengths, m.numbered[orders], 0)
    tickets = np.maximum(np.where(given > 0, given, m.quantity[orders]), 0)
    cancelled = np.unique(m.order[(m.op == CANCEL) & m.possible])
    nameless = np.flatnonzero(m.order[orders] < 0)
    unmatched = int((lookup(m.order[orders], orders, cancelled, -1) < 0).sum())
    stands = lookup(cancelled, cancelled, m.order[orders], -1) < 0
    stands[nameless[np.argsort(-tickets[nameless], kind="stable")][:unmatched]] = False
    return orders[stands], tickets[stands]


def _oversold(case: Case, findings: Findings) -> None:
    h, m, capacity = case.history, case.mutations, case.most
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
        return case.evidence(text, *rows)

    crossing = np.flatnonzero(total > capacity)[:1]
    findings.add("oversold", crossing, explain, count=int(total[-1]) - capacity)


def _double_booked(case: Case, findings: Findings) -> None:
    """A number that two orders have, or a hold and an order that is not its own, or two holds."""
    m = case.mutations
    number, owner, order = (repeated := case.repeated_numbers).number, repeated.owner, repeated.order
    in_order = np.lexsort((order, owner, number))
    a, b = in_order[:-1], in_order[1:]
    clash = (number[a] == number[b]) & ((owner[a] != owner[b]) | ((order[a] != order[b]) & (order[a] >= 0)))
    clash[clash] = ~_one_after_the_other(case, repeated.mutation[a[clash]], repeated.mutation[b[clash]])
    a, b = a[clash], b[clash]
    _, first = np.unique(number[b], return_index=True)
    findings.add(
        "double-booked",
        first,
        lambda at: case.evidence(
            f"ticket number {number[a[at]]} was acknowledged to both", *m.answer[repeated.mutation[[a[at], b[at]]]]
        ),
    )
