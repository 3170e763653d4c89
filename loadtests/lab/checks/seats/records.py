"""Replays the ledger seat by seat: each is free when it is taken, and ends with the order or the hold that has it."""

from __future__ import annotations

from functools import partial

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import LATE, AuditLedger
from loadtests.lab.checks.case.lifetimes import FOREVER
from loadtests.lab.checks.case.occupancy import Occupancy
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.replay import Shown, evidence_of
from loadtests.lab.checks.seats.lists import have_any, repeated, same_seats
from loadtests.lab.history.arrays import Ints, Ragged


def check(case: Case, placement: Placement) -> Findings:
    """Replay the seats of the records, if the order of the mutations is known."""
    ledger, seats = placement.ledger, case.seats
    if seats is None or ledger is None or ledger.seats is None or ledger.occupancy is None:
        return Findings(applies=False)
    findings, shown = Findings(), partial(evidence_of, case, ledger)
    if seats.hall is not None and case.audit is not None and case.audit.capacity != len(seats.hall):
        text = f"the audit's header names a capacity of {case.audit.capacity}, and its hall has {len(seats.hall)} seats"
        findings.add_one("torn audit", case.evidence(text))
    _records_have_seats(shown, ledger, seats, ledger.seats, findings)
    _seats_are_free(shown, ledger, seats, ledger.occupancy, findings)
    _seats_stay_together(shown, ledger, seats, findings)
    return findings


def _records_have_seats(shown: Shown, ledger: AuditLedger, seats: Seats, recorded: Ragged, findings: Findings) -> None:
    """As many as tickets, each once, and of the hall. A ledger derived from answers may not know all of them."""
    must = np.full(len(ledger), seats.hall is not None and ledger.audit is not None)
    wrong = (recorded.lengths != ledger.quantity) & (must | (recorded.lengths > 0)) & (ledger.quantity > 0)
    findings.add(
        "other seats",
        np.flatnonzero(wrong),
        lambda i: shown(
            f"it is {ledger.kind_of(i)}, of {ledger.quantity[i]}, and has "
            + (f"the seats {seats.text(recorded.row(i))}" if recorded.row(i) else "no seats"),
            i,
            seats=recorded.row(i),
        ),
    )
    findings.add(
        "repeated seat",
        repeated(recorded),
        lambda i: shown(f"one seat stands twice in it: {seats.text(recorded.row(i))}", i, seats=recorded.row(i)),
    )
    findings.add(
        "unknown seat",
        np.flatnonzero(have_any(recorded, recorded.flat >= seats.ours)),
        lambda i: shown(
            f"it is {ledger.kind_of(i)} with seats of which the hall has not all: {seats.text(recorded.row(i))}",
            i,
            seats=recorded.row(i),
        ),
    )


def _seats_are_free(shown: Shown, ledger: AuditLedger, seats: Seats, occupancy: Occupancy, findings: Findings) -> None:
    found = occupancy.overlaps()
    found = found[ledger.gives[occupancy.opened[found]]]
    if not len(found):
        return
    _, first = np.unique(occupancy.opened[found], return_index=True)  # a record counts once
    findings.add(
        "seat recorded twice",
        found[first],
        lambda at: shown(
            f"seat {seats.names[occupancy.seat[at]]} is {ledger.kind_of(int(occupancy.opened[at]))} at version "
            f"{ledger.version[occupancy.opened[at]]} while it was not free",
            int(occupancy.opened[occupancy.earlier(at)]),
            int(occupancy.opened[at]),
            seats=[int(occupancy.seat[at])],
        ),
    )


def _seats_stay_together(shown: Shown, ledger: AuditLedger, seats: Seats, findings: Findings) -> None:
    """A confirmation, in time or late, has its hold's seats; what is given back has those that were taken."""
    for lifetimes in (ledger.orders, ledger.holds):
        closed = np.flatnonzero(lifetimes.closed != FOREVER)
        _compare(shown, ledger, seats, (lifetimes.closed[closed], lifetimes.opened[closed]), findings)
    late = np.flatnonzero(ledger.kind == LATE)
    opened = ledger.holds.opening_of(ledger.hold[late])
    _compare(shown, ledger, seats, (late[opened >= 0], opened[opened >= 0]), findings)


def _compare(shown: Shown, ledger: AuditLedger, seats: Seats, pairs: tuple[Ints, Ints], findings: Findings) -> None:
    (later, earlier), recorded = pairs, ledger.seats
    if recorded is None:
        return
    a, b = recorded.take(later), recorded.take(earlier)
    known = (a.lengths > 0) & (b.lengths > 0) | (seats.hall is not None and ledger.audit is not None)
    findings.add(
        "other seats",
        np.flatnonzero(~same_seats(a, b) & known),
        lambda at: shown(
            f"it is {ledger.kind_of(int(later[at]))} with {seats.text(a.row(at)) or 'no seats'}; what it ends or "
            f"confirms has {seats.text(b.row(at)) or 'none'}",
            int(earlier[at]),
            int(later[at]),
            seats=a.row(at) + b.row(at),
        ),
    )
