"""Replays the ledger: its records must be those of a correct sequential office, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import LATE, AuditLedger
from loadtests.lab.checks.case.lifetimes import FOREVER, range_maximum
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import ABSENT, lookup, pick, same_rows
from loadtests.lab.history.audit import AMENDED, EXPIRED

Shown = Callable[..., Evidence]
"""``evidence_of`` for one case and its ledger: takes a sentence, and the records that it is about."""


def check(case: Case, placement: Placement) -> Findings:
    """Replay the ledger, if the order of the mutations is known."""
    findings = Findings()
    ledger = placement.ledger
    if ledger is None:
        return Findings(applies=False)
    shown = partial(evidence_of, case, ledger)
    _places_suffice(case, ledger, findings, shown)
    _numbers_follow(ledger, findings, shown)
    _lifetimes_are_honest("order", ledger, findings, shown)
    _lifetimes_are_honest("hold", ledger, findings, shown)
    _late_sales_replace_expired_holds(ledger, findings, shown)
    _holds_expire_in_turn(ledger, findings, shown)
    return findings


def _places_suffice(case: Case, ledger: AuditLedger, findings: Findings, shown: Shown) -> None:
    """No record takes places that are not left, also where a later cancellation hides it."""
    if case.capacity is None:
        return
    taken, capacity = (ledger.sold + ledger.held)[1:], ledger.capacity_after(case.capacity)[1:]
    findings.add(
        "over-recorded",
        found := np.flatnonzero((taken > capacity) & (ledger.gives | (ledger.kind == AMENDED))),
        lambda i: shown(f"with it {taken[i]} places are sold or held, of {capacity[i]}", i),
        taken[found],
    )


def _numbers_follow(ledger: AuditLedger, findings: Findings, shown: Shown) -> None:
    """Ticket numbers are 1, 2, 3 … along the records that give new ones."""
    giving = np.flatnonzero(ledger.gives)
    given = ledger.tickets.take(giving)
    number, record = given.flat, giving[given.rows()]
    if not len(number):
        return
    findings.add(
        "answer differs",
        giving[given.lengths != ledger.quantity[giving]],
        lambda i: shown(f"it is of {ledger.quantity[i]} tickets and has the numbers {ledger.tickets.row(i)}", i),
    )
    if (number == np.arange(1, len(number) + 1)).all():
        return
    _, first = np.unique(number, return_index=True)
    is_first = np.zeros(len(number), np.bool_)
    is_first[first] = True
    findings.add(
        "duplicate",
        np.flatnonzero(~is_first),
        lambda at: shown(
            f"ticket number {number[at]} is given twice",
            int(record[np.flatnonzero(number == number[at])[0]]),
            int(record[at]),
        ),
    )
    highest = np.maximum.accumulate(np.concatenate(([0], number[:-1])))
    findings.add(
        "gap",
        np.flatnonzero(is_first & (number != highest + 1)),
        lambda at: shown(f"ticket number {number[at]} is given where {highest[at] + 1} was next", int(record[at])),
    )


def _lifetimes_are_honest(
    thing: Literal["order", "hold"], ledger: AuditLedger, findings: Findings, shown: Shown
) -> None:
    """Each order and each hold is opened once, closed only while open, and given back as it was taken."""
    ids, lifetimes = (ledger.order, ledger.orders) if thing == "order" else (ledger.hold, ledger.holds)
    opening = lifetimes.opening_of(ids)
    findings.add(
        "duplicate",
        lifetimes.again,
        lambda i: shown(f"the {thing} had been made before", int(opening[i]), i),
    )
    findings.add(
        "double cancel",
        lifetimes.wrongly,
        lambda i: shown(f"it is {ledger.kind_of(i)} while its {thing} is not open", i),
    )
    closed = np.flatnonzero(lifetimes.closed != FOREVER)
    close, opened = lifetimes.closed[closed], lifetimes.opened[closed]
    a, b = ledger.tickets.take(close), ledger.tickets.take(opened)
    differs = (~same_rows(a, b) & (a.lengths > 0) & (b.lengths > 0)) | (
        ledger.quantity[close] != ledger.quantity[opened]
    )
    findings.add(
        "answer differs",
        np.flatnonzero(differs),
        lambda at: shown(
            f"it is {ledger.kind_of(int(close[at]))} with other tickets than the {thing} has",
            int(opened[at]),
            int(close[at]),
        ),
    )


def _late_sales_replace_expired_holds(ledger: AuditLedger, findings: Findings, shown: Shown) -> None:
    """A confirmation stands as a sale only if its hold had expired, once, and for the hold's quantity."""
    late = np.flatnonzero(ledger.kind == LATE)
    hold = ledger.hold[late]
    opened = ledger.holds.opening_of(hold)
    closed = lookup(ledger.holds.ids, ledger.holds.closed, hold, FOREVER)
    expired = (closed < late) & (pick(ledger.kind, closed, -1) == EXPIRED)
    _, first = np.unique(hold, return_index=True)
    used_up = np.ones(len(late), np.bool_)
    used_up[first] = False
    other_quantity = (opened >= 0) & (ledger.quantity[late] != ledger.quantity[opened])
    findings.add(
        "false late sale",
        late[~expired | used_up | other_quantity],
        lambda i: shown(
            "it sells anew for a hold that had not expired, was sold late before, or was of another size", i
        ),
    )


def _holds_expire_in_turn(ledger: AuditLedger, findings: Findings, shown: Shown) -> None:
    """No hold is open, due earlier, when another one expires; ties go by the holds' versions.

    For each hold, the latest of those that expired while it was open must have been due before it.
    """
    holds = ledger.holds
    due = np.flatnonzero(ledger.expires_at[holds.opened] != ABSENT)
    opened, closed = holds.opened[due], np.minimum(holds.closed[due], len(ledger))
    turn = np.empty(len(due), np.int64)
    turn[np.lexsort((opened, ledger.expires_at[opened]))] = np.arange(len(due))
    expires = np.flatnonzero((closed < len(ledger)) & (pick(ledger.kind, closed, -1) == EXPIRED))
    expired_turn = np.full(len(ledger), -1)
    expired_turn[closed[expires]] = turn[expires]
    overtaken = np.flatnonzero(range_maximum(expired_turn, opened + 1, closed) > turn)

    def explain(at: int) -> Evidence:
        between = expired_turn[opened[at] : closed[at]]
        overtaker = int(opened[at] + np.flatnonzero(between > turn[at])[0])
        return shown("the second expires while the first is open and due earlier", int(opened[at]), overtaker)

    findings.add("false expiry", overtaken, explain)


def evidence_of(case: Case, ledger: AuditLedger, text: str, *records: int, seats: Iterable[int] = ()) -> Evidence:
    """A record is shown by its place in the audit, and by an attempt of its key."""
    m = case.mutations
    groups = [int(ledger.group[record]) for record in records if ledger.group[record] >= 0]
    rows = [int(m.answer[group] if m.answer[group] >= 0 else m.row[group]) for group in groups]
    places = [record + 1 for record in records if ledger.audit is not None]
    return case.evidence(text, *rows, records=places, seats=seats)
