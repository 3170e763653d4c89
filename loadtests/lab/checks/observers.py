"""What an answer shows must have been true at the version on which it was decided."""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import LATE, AuditLedger
from loadtests.lab.checks.case.lifetimes import FOREVER
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import ABSENT, Ints, lookup, one_of, pick
from loadtests.lab.history.audit import EXPIRED
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, OK, READ, REFUSED, RELEASE, SOLD_OUT


def check(case: Case, placement: Placement) -> Findings:
    """Compare every answer that shows something with the state at its version, where the ledger is known."""
    findings = Findings()
    ledger = placement.ledger
    if ledger is None:
        return Findings(applies=False)
    at = ledger.position(versions_of(case, placement))
    if case.capacity is not None:
        _remaining_is_true(case, ledger, case.capacity, at, findings)
        _sold_out_is_true(case, ledger, case.capacity, at, findings)
    _refused_was_not_open(case, ledger, at, findings)
    return findings


def versions_of(case: Case, placement: Placement) -> Ints:
    """The version of each row's answer, ABSENT where it has none."""
    h = case.history
    acknowledged = np.flatnonzero((h.outcome == OK) & (h.op != READ))
    version = np.full(len(h), ABSENT)
    version[acknowledged] = placement.version[case.group[acknowledged]]
    if placement.tier == "A":
        version = np.where((version != ABSENT) & (h.version != ABSENT), h.version, version)
    version[case.observers] = placement.seen
    return version


def _remaining_is_true(case: Case, ledger: AuditLedger, capacity: int, at: Ints, findings: Findings) -> None:
    h = case.history
    there = ledger.capacity_after(capacity)[at] - (ledger.sold + ledger.held)[at]
    rows = np.flatnonzero((at >= 0) & (h.remaining != ABSENT) & (h.remaining != there))
    findings.add(
        "wrong read",
        rows,
        lambda row: case.evidence(
            f"it shows {h.remaining[row]} remaining at version {at[row]}; there were {there[row]}", row
        ),
        np.abs(h.remaining[rows] - there[rows]),
    )


def _sold_out_is_true(case: Case, ledger: AuditLedger, capacity: int, at: Ints, findings: Findings) -> None:
    """Tickets may be refused only if fewer were left; a confirmation of an expired hold is a new sale."""
    h = case.history
    capacities = ledger.capacity_after(capacity)
    there = (capacities - ledger.sold - ledger.held)[at]
    wanted = np.where((h.outcome == SOLD_OUT) & one_of(h.op, BUY, HOLD), h.quantity, ABSENT)
    late, opened = expired_and_not_sold_late(case, ledger, at)
    if ledger.seats is not None:  # then its own seats must be free, and not as many: see ``seats.observers``
        seatless = ledger.seats.lengths[opened] == 0
        late, opened = late[seatless], opened[seatless]
    wanted[late] = ledger.quantity[opened]
    rows = np.flatnonzero((at >= 0) & (wanted != ABSENT) & (wanted <= there))
    findings.add(
        "false sold-out",
        rows,
        lambda row: case.evidence(
            f"{wanted[row]} were refused at version {at[row]}; there were {there[row]} "
            f"({ledger.sold[at[row]]} sold and {ledger.held[at[row]]} held of {capacities[at[row]]})",
            row,
        ),
        there[rows] - wanted[rows],
    )


def expired_and_not_sold_late(case: Case, ledger: AuditLedger, at: Ints) -> tuple[Ints, Ints]:
    """Refused confirmations of holds that had expired and were not sold late by then; and the holds' records."""
    h = case.history
    refused = np.flatnonzero((h.op == CONFIRM) & one_of(h.outcome, SOLD_OUT, REFUSED) & (at >= 0))
    hold = h.hold[refused]
    closed = lookup(ledger.holds.ids, ledger.holds.closed, hold, FOREVER)
    late = np.flatnonzero(ledger.kind == LATE)
    used_up = lookup(ledger.hold[late], late, hold, FOREVER) < at[refused]
    expired = (closed < at[refused]) & (pick(ledger.kind, closed, -1) == EXPIRED)
    again = np.flatnonzero(expired & ~used_up)
    return refused[again], ledger.holds.opening_of(hold[again])


def _refused_was_not_open(case: Case, ledger: AuditLedger, at: Ints, findings: Findings) -> None:
    h = case.history
    refused = np.flatnonzero(one_of(h.outcome, REFUSED, SOLD_OUT) & one_of(h.op, CANCEL, CONFIRM, RELEASE) & (at >= 0))
    was_open = np.where(
        h.op[refused] == CANCEL,
        ledger.orders.open_after(h.order[refused], at[refused]),
        ledger.holds.open_after(h.hold[refused], at[refused]),
    )
    findings.add(
        "false refusal",
        refused[was_open],
        lambda row: case.evidence(f"it was refused after {at[row]} mutations, and what it names was open", row),
    )
