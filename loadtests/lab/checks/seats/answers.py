"""Seats from the buyers' answers alone, whatever the store believes: sold twice, or others than were asked for."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats.lists import contained, have_any, repeated, same_seats
from loadtests.lab.history.arrays import NEVER, Ints, lookup, one_of, pick
from loadtests.lab.history.history import (
    BUY,
    CANCEL,
    CONFIRM,
    HOLD,
    NOT_TOGETHER,
    RELEASE,
    SEAT_TAKEN,
    SECTION_SOLD_OUT,
)


def check(case: Case, placement: Placement) -> Findings:
    """Compare what buyers were answered about seats with what they asked for, and with each other."""
    seats = case.seats
    if seats is None:
        return Findings(applies=False)
    findings = Findings()
    twice = sold_twice(case)
    findings.add(
        "seat sold twice",
        np.arange(len(twice.seat)),
        lambda at: case.evidence(
            f"seat {seats.text([twice.seat[at]])} was acknowledged to both",
            *case.mutations.answer[[twice.first[at], twice.second[at]]],
            seats=[int(twice.seat[at])],
        ),
    )
    _as_asked(case, seats, findings)
    _as_answered_before(case, seats, findings)
    _refusals_are_of_the_wish(case, seats, findings)
    _refusals_name_what_was_wanted(case, seats, findings)
    return findings


class Twice(NamedTuple):
    """Seats that two mutations have at once, by what was answered; each seat and second mutation stands once."""

    seat: Ints
    first: Ints
    second: Ints


def sold_twice(case: Case) -> Twice:
    """Seats that were acknowledged to two buyers, of whom neither can have given it back before the other had it.

    Each has the seat from some moment up to its answer until, at the earliest, the moment from which it may have been
    given back. Two of them are in order only if the one can have given it back before the other was answered.
    """
    m, seats = case.mutations, case.seats
    none = Twice(*(np.zeros(0, np.int64),) * 3)
    if seats is None:
        return none
    owners = np.flatnonzero(one_of(m.op, BUY, HOLD, CONFIRM) & m.acknowledged & (seats.of_mutation.lengths > 0))
    theirs = seats.of_mutation.take(owners)
    seat, owner = np.divmod(np.unique(theirs.flat * len(m) + owners[theirs.rows()]), max(len(m), 1))
    if len(seat) < 2:
        return none
    times = np.stack((case.history.return_ns[m.answer[owner]], kept_until(case)[owner]))
    distinct, times = np.unique(times, return_inverse=True)
    answered, ends = times.reshape(2, -1)
    in_order = np.lexsort((answered, seat))
    seat, owner, answered, ends = seat[in_order], owner[in_order], answered[in_order], ends[in_order]
    stretch = np.cumsum(np.diff(seat, prepend=seat[0]) != 0) * len(distinct)  # each seat's times apart from the others'
    latest = np.maximum.accumulate(stretch + ends)
    # Of those answered before, only such count as were answered while this one surely still had the seat.
    before = np.minimum(np.searchsorted(stretch + answered, stretch + ends), np.arange(len(seat))) - 1
    clash = np.flatnonzero((before >= 0) & (pick(latest, before, -1) > stretch + answered))
    first = np.searchsorted(latest, latest[before[clash]])
    return Twice(seat[clash], owner[first], owner[clash])


def kept_until(case: Case) -> Ints:
    """For each mutation, the earliest moment at which what it took may have been given back; NEVER if at none.

    An order may end when its cancellation was asked, if that was acknowledged or is unknown. A hold may end when its
    confirmation or release was asked, and after as many seconds as it was asked for; nobody knows when, if it does not
    say. Clocks of several hosts do not compare: there what may end at all may have ended at any time.
    """
    h, m = case.history, case.mutations
    asked = pick(h.invoke_ns, m.start, 0)
    until = np.full(len(m), NEVER)
    orders, holds = one_of(m.op, BUY, CONFIRM), m.op == HOLD
    back, ended = (m.op == CANCEL) & m.possible, one_of(m.op, CONFIRM, RELEASE) & m.possible
    until[orders] = _earliest(m.order[back], asked[back], m.order[orders])
    unmatched = back & (lookup(m.order[orders], np.flatnonzero(orders), m.order, -1) < 0)
    until[orders & (m.order < 0)] = asked[unmatched].min(initial=NEVER)
    until[holds] = np.minimum(deadlines(case)[holds], _earliest(m.hold[ended], asked[ended], m.hold[holds]))
    until[holds & (m.hold < 0)] = 0
    if not case.one_clock:
        until[until != NEVER] = 0
    return until


def deadlines(case: Case) -> Ints:
    """For each hold, the moment before which it cannot have expired; 0 where nobody knows, and for other mutations."""
    h, m = case.history, case.mutations
    seconds = np.where(m.op == HOLD, h.seconds[m.row], np.nan)
    known = ~np.isnan(seconds) & (m.start >= 0)
    lasts = np.where(known, seconds, 0) * 1e9
    return np.where(known, pick(h.invoke_ns, m.start, 0) + lasts.astype(np.int64), 0)


def _earliest(ids: Ints, times: Ints, wanted: Ints) -> Ints:
    """For each wanted id, the earliest of its times, NEVER without one; negative ids match nothing."""
    by_time = np.argsort(times, kind="stable")
    return lookup(ids[by_time], times[by_time], wanted, NEVER)


def _as_asked(case: Case, seats: Seats, findings: Findings) -> None:
    """An answer has as many seats as were asked for, each once, in the hall, and the wanted ones where some were."""
    h = case.history
    rows = np.flatnonzero(seats.told & one_of(h.op, BUY, HOLD, CONFIRM))
    given, wanted = seats.given.take(rows), seats.wanted.take(rows)
    other = seats.asked[rows] & one_of(h.op[rows], BUY, HOLD) & ~same_seats(given, wanted)
    findings.add(
        "other seats",
        rows[other],
        lambda row: case.evidence(
            f"it asked for {seats.text(seats.wanted.row(row))} and was given {seats.text(seats.given.row(row))}",
            row,
            seats=seats.wanted.row(row) + seats.given.row(row),
        ),
    )
    wrong = (h.quantity[rows] > 0) & (given.lengths != h.quantity[rows]) & ~other
    findings.add(
        "other seats",
        rows[wrong],
        lambda row: case.evidence(
            f"it is of {h.quantity[row]} and was given the seats {seats.text(seats.given.row(row)) or 'none'}",
            row,
            seats=seats.given.row(row),
        ),
    )
    findings.add(
        "repeated seat",
        rows[repeated(given)],
        lambda row: case.evidence(
            f"one seat stands twice in its answer: {seats.text(seats.given.row(row))}",
            row,
            seats=seats.given.row(row),
        ),
    )
    answered = np.flatnonzero(seats.told | one_of(h.outcome, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER))
    named = seats.given.take(rows)
    strange = rows[have_any(named, named.flat >= seats.ours)]
    findings.add(
        "unknown seat",
        np.union1d(strange, answered[seats.astray[answered]]),
        lambda row: case.evidence(
            f"it was answered with {seats.text(seats.given.row(row))}, and the hall has no such seat"
            if not seats.astray[row]
            else "it asked for a section that the hall does not have, and was answered as if there were one",
            row,
            seats=seats.given.row(row),
        ),
    )


def _as_answered_before(case: Case, seats: Seats, findings: Findings) -> None:
    """Report answers to one key with different seats, and confirmations with other seats than their hold."""
    m = case.mutations
    rows = np.flatnonzero(seats.told & (case.group >= 0))
    agreed = seats.of_mutation.take(case.group[rows])
    findings.add(
        "answer differs",
        rows[~same_seats(seats.given.take(rows), agreed)],
        lambda row: case.evidence(
            f"one key was answered with {seats.text(seats.of_mutation.row(case.group[row]))} and with "
            f"{seats.text(seats.given.row(row))}",
            m.answer[case.group[row]],
            row,
            seats=seats.of_mutation.row(case.group[row]) + seats.given.row(row),
        ),
    )
    confirmed = np.flatnonzero((m.op == CONFIRM) & m.acknowledged & (seats.of_mutation.lengths > 0))
    holds = np.flatnonzero((m.op == HOLD) & m.acknowledged & (seats.of_mutation.lengths > 0))
    hold = lookup(m.hold[holds], holds, m.hold[confirmed], -1)
    confirmed, hold = confirmed[hold >= 0], hold[hold >= 0]
    of_hold = dict(zip(confirmed.tolist(), hold.tolist(), strict=True))
    findings.add(
        "other seats",
        confirmed[~same_seats(seats.of_mutation.take(confirmed), seats.of_mutation.take(hold))],
        lambda g: case.evidence(
            f"its hold was of {seats.text(seats.of_mutation.row(of_hold[g]))}, and its order is of "
            f"{seats.text(seats.of_mutation.row(g))}",
            m.answer[of_hold[g]],
            m.answer[g],
            seats=seats.of_mutation.row(of_hold[g]) + seats.of_mutation.row(g),
        ),
    )


def _refusals_are_of_the_wish(case: Case, seats: Seats, findings: Findings) -> None:
    """Only who asked for seats by name, for neighbours, or in a section, is refused for want of just these."""
    h = case.history
    in_a_section = np.zeros(len(h), np.bool_) if h.seating is None else h.seating.section >= 0
    for outcome, asked, violation, wish in (
        (SEAT_TAKEN, seats.asked, "false seat-taken", "seats by name"),
        (NOT_TOGETHER, seats.together, "false not-together", "neighbours"),
        (SECTION_SOLD_OUT, in_a_section, "false sold-out", "a section"),
    ):
        findings.add(
            violation,
            np.flatnonzero((h.outcome == outcome) & ~asked),
            partial(lambda wish, row: case.evidence(f"it did not ask for {wish}, and was refused for them", row), wish),
        )


def _refusals_name_what_was_wanted(case: Case, seats: Seats, findings: Findings) -> None:
    """A refusal that names taken seats names at least one, and none that was not wanted."""
    h = case.history
    rows = np.flatnonzero((h.outcome == SEAT_TAKEN) & seats.named & seats.asked)
    taken = seats.taken.take(rows)
    wrong = taken.lengths == 0
    wrong |= have_any(taken, ~contained(taken, seats.wanted.take(rows)))
    findings.add(
        "false seat-taken",
        rows[wrong],
        lambda row: case.evidence(
            f"it wanted {seats.text(seats.wanted.row(row))}, and the refusal names "
            f"{seats.text(seats.taken.row(row)) or 'none of them'}",
            row,
            seats=seats.wanted.row(row) + seats.taken.row(row),
        ),
    )
