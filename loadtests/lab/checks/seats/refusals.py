"""What a refusal says of seats must have been true at the version on which it was decided."""

from __future__ import annotations

from functools import partial

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import AuditLedger
from loadtests.lab.checks.case.occupancy import Occupancy
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.observers import expired_and_not_sold_late, versions_of
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats.lists import contained, have_any
from loadtests.lab.history.arrays import Ints
from loadtests.lab.history.history import SEAT_TAKEN, SECTION_SOLD_OUT


def check(case: Case, placement: Placement) -> Findings:
    """Compare every refusal of seats with the seats at its version, where the ledger is known."""
    ledger, seats = placement.ledger, case.seats
    if seats is None or ledger is None or ledger.occupancy is None:
        return Findings(applies=False)
    findings = Findings()
    at = ledger.position(versions_of(case, placement))
    _taken_ones_are_named(case, seats, ledger.occupancy, at, findings)
    _expired_holds_are_taken(case, seats, ledger, at, findings)
    if seats.hall is not None:
        _sections_are_full(case, seats, ledger.occupancy, at, findings)
    return findings


def _taken_ones_are_named(case: Case, seats: Seats, occupancy: Occupancy, at: Ints, findings: Findings) -> None:
    """A refusal names exactly those that were taken, at least one; one that names none needs one that was."""
    rows = np.flatnonzero((case.history.outcome == SEAT_TAKEN) & (at >= 0) & seats.asked)
    wanted, named = seats.wanted.take(rows), seats.taken.take(rows)
    taken = occupancy.taken_after(wanted.flat, at[rows][wanted.rows()])
    told = seats.named[rows]
    wrong = ~have_any(wanted, taken)
    others = have_any(wanted, taken != contained(wanted, named))
    wrong |= told & others

    def explain(i: int) -> Evidence:
        row = int(rows[i])
        here = wanted.rows() == i
        truly = [seats.names[seat] for seat in wanted.flat[here & taken]]
        said = f"the refusal names {seats.text(named.row(i)) or 'none of them'}" if told[i] else "it was refused"
        return case.evidence(
            f"it wanted {seats.text(wanted.row(i))}, and {said}; after {at[row]} mutations "
            f"{', '.join(truly) or 'none of them'} {'was' if len(truly) == 1 or not truly else 'were'} taken",
            row,
            seats=wanted.row(i),
        )

    findings.add("false seat-taken", np.flatnonzero(wrong), explain)


def _expired_holds_are_taken(case: Case, seats: Seats, ledger: AuditLedger, at: Ints, findings: Findings) -> None:
    """A confirmation may be refused after its hold has expired only if one of the hold's seats is taken."""
    if ledger.seats is None or ledger.occupancy is None:
        return
    rows, opened = expired_and_not_sold_late(case, ledger, at)
    theirs = ledger.seats.take(opened)
    known = theirs.lengths > 0
    known &= ~have_any(theirs, ledger.occupancy.taken_after(theirs.flat, at[rows][theirs.rows()]))
    findings.add(
        "false sold-out",
        np.flatnonzero(known),
        lambda i: case.evidence(
            f"its hold had expired and was refused at version {at[rows[i]]}; all of its seats were free: "
            f"{seats.text(theirs.row(i))}",
            rows[i],
            seats=theirs.row(i),
        ),
    )


def _sections_are_full(case: Case, seats: Seats, occupancy: Occupancy, at: Ints, findings: Findings) -> None:
    h = case.history
    refused = np.flatnonzero((h.outcome == SECTION_SOLD_OUT) & (at >= 0) & ~seats.astray)
    for low, high in np.unique(np.stack((seats.low[refused], seats.high[refused])), axis=1).T.tolist():
        rows = refused[(seats.low[refused] == low) & (seats.high[refused] == high)]
        free = high - low - occupancy.taken_in(low, high, at[rows])
        there = dict(zip(rows.tolist(), free.tolist(), strict=True))
        findings.add(
            "false sold-out",
            rows[h.quantity[rows] <= free],
            partial(_explain_section, case, at, there),
        )


def _explain_section(case: Case, at: Ints, there: dict[int, int], row: int) -> Evidence:
    wanted = case.history.quantity[row]
    return case.evidence(
        f"{wanted} were refused after {at[row]} mutations; there were {there[row]} in its section", row
    )
