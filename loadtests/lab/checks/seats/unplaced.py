"""Seats of services that tell no versions and have no audit: each seat by itself, bounded by real time.

Who has a seat has it from some moment of the purchase until, at the earliest, the moment from which it may have been
given back. Where none is given back, and one purchase of a seat was acknowledged, nobody else can have had that seat:
what showed it taken is bounded by that purchase, and so is what showed it free.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement, candidates
from loadtests.lab.checks.seats.answers import kept_until
from loadtests.lab.checks.seats.lists import contained, have_any
from loadtests.lab.history.arrays import ABSENT, NEVER, Bools, Ints, one_of, pick
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
from loadtests.lab.protocol.halls import FREE, HallError, States

_REFUSALS = (SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER)


def check(case: Case, placement: Placement) -> Findings:
    """Bound what refusals and maps without a place in the order say of each seat."""
    seats, h = case.seats, case.history
    if seats is None:
        return Findings(applies=False)
    rows = _without_a_place(case, placement)
    wanted = rows[(h.outcome[rows] == SEAT_TAKEN) & seats.asked[rows]]
    shown = rows[h.seating.map[rows] >= 0] if h.seating is not None else rows[:0]
    reasons = list(_undecided(case, seats, placement, rows))
    findings = Findings(undecided=reasons, applies=bool(len(rows) or reasons))
    if len(rows) and not case.one_clock:
        findings.undecided.append("refusals of seats show no version, and clocks of several hosts do not compare")
    elif len(rows):
        bounds = _Bounds.of(case, seats)
        evidence = _Evidence(case, seats, wanted, shown, findings)
        doubtful = sum(_compare(case, bounds, seen, evidence.taken, findings) for seen in evidence.each())
        doubtful += _all_were_free(case, wanted[~seats.named[wanted]], bounds, evidence.free, findings)
        if doubtful:
            findings.undecided.append(f"{doubtful} refusals or maps of seats can only be due to purchases that failed")
    return findings


def _without_a_place(case: Case, placement: Placement) -> Ints:
    """Rows that were refused seats or shown a map, and that no version places in a known order."""
    h = case.history
    blind = case.observers if placement.ledger is None else case.observers[placement.seen == ABSENT]
    says = one_of(h.outcome, *_REFUSALS)
    if h.seating is not None:
        says |= h.seating.map >= 0
    rows: Ints = np.union1d(case.bare, blind)
    found: Ints = rows[says[rows]]
    return found


def _undecided(case: Case, seats: Seats, placement: Placement, rows: Ints) -> Iterator[str]:
    """Why what is said of seats cannot be *valid*, beside what the tier says of itself."""
    outcome = case.history.outcome[rows]
    unnamed = int(one_of(outcome, SECTION_SOLD_OUT, NOT_TOGETHER).sum())
    if unnamed:
        yield f"{unnamed} refusals of seats that were not named show no version"
    elif placement.tier == "A" and len(case.bare):
        yield f"{len(case.bare)} refusals of seats show no version, though others do"
    if seats.hall is None and case.history.seating is not None and len(case.history):
        if seats.together.any():
            yield "seats were asked for together, and no audit shows the hall"
        if (case.history.seating.map >= 0).any():
            yield "maps of the seats cannot be read: no audit shows the hall"
        if one_of(case.history.outcome, SECTION_SOLD_OUT, NOT_TOGETHER).any() and not unnamed:
            yield "whether there were free seats in a section or side by side is not known: no audit shows the hall"


@dataclass(frozen=True)
class _Bounds:
    """By seat: what its purchases allow.

    ``first`` is when the earliest purchase that can have taken it was invoked, NEVER if none can. ``surely_from`` and
    ``surely_to`` bound the longest time that one buyer surely had it. ``given_back`` says whether it may have been.
    ``tried`` is when the earliest purchase of it that failed was invoked, NEVER without one: of several steps, the
    first may have taken the seat for a moment. What only such a purchase can explain is no violation, nor is it right.
    """

    first: Ints
    surely_from: Ints
    surely_to: Ints
    given_back: Bools
    tried: Ints

    @classmethod
    def of(cls, case: Case, seats: Seats) -> _Bounds:
        h, m, count = case.history, case.mutations, len(seats.names)
        takers = np.flatnonzero(one_of(m.op, BUY, HOLD, CONFIRM) & m.possible)
        theirs = seats.of_mutation.take(takers)
        seat, taker = theirs.flat, takers[theirs.rows()]
        invoked = pick(h.invoke_ns, m.start, 0)
        until = kept_until(case)
        back = np.zeros(count, np.bool_)
        back[seat[(until[taker] != NEVER) | (m.op[taker] != BUY)]] = True
        # Whose seats nobody knows may have any; what is given back without a name may be anything.
        anywhere = takers[theirs.lengths == 0]
        nameless = one_of(m.op, CANCEL, CONFIRM, RELEASE) & m.possible & (seats.of_mutation.lengths == 0)
        back |= bool((m.op[anywhere] != BUY).any() or nameless.any())
        # An unknown purchase that was refused in another attempt of its key took nothing: had it done so before, the
        # first answer was due, and afterwards the seat stays with whoever had it, if it is never free again.
        can_take = m.acknowledged.copy()
        can_take[candidates(case)] = True
        loose = back | (seats.tried != NEVER)
        if not loose.any():
            anywhere = anywhere[can_take[anywhere]]
        first = np.full(count, invoked[anywhere].min(initial=NEVER))
        told = np.bincount(seat[m.acknowledged[taker]], minlength=count) > 0
        first[told & ~back] = NEVER  # nobody else can have had it
        counts = back[seat] | (~told[seat] & (can_take[taker] | loose[seat])) | m.acknowledged[taker]
        np.minimum.at(first, seat[counts], invoked[taker[counts]])
        surely = m.acknowledged[taker]
        seat, taker = seat[surely], taker[surely]
        answered = pick(h.return_ns, m.answer[taker], NEVER)
        by_length = np.argsort(np.minimum(until[taker], NEVER) - answered, kind="stable")  # the longest comes last
        surely_from, surely_to = np.full(count, NEVER), np.full(count, -1)
        surely_from[seat[by_length]] = answered[by_length]
        surely_to[seat[by_length]] = until[taker[by_length]]
        return cls(first, surely_from, surely_to, back, seats.tried)


@dataclass(frozen=True)
class _Seen:
    """What answers showed of seats. An entry: the answer in this ``row`` showed this ``seat`` as free, or as taken."""

    seat: Ints
    row: Ints
    free: Bools


class _Evidence:
    """What maps say of each seat, and refusals that name the taken seats. Where one seat was wanted, it is that one.

    A map tells of every seat, so that maps are looked at one after another. ``taken`` is by seat when the first answer
    returned that showed it taken, NEVER without one; ``free`` when the last was invoked that showed it free, else -1.
    """

    def __init__(self, case: Case, seats: Seats, wanted: Ints, shown: Ints, findings: Findings) -> None:
        h = case.history
        naming = wanted[seats.named[wanted] | (seats.wanted.lengths[wanted] == 1)]
        asked = seats.wanted.take(naming)
        free = ~contained(asked, seats.taken.take(naming)) & seats.named[naming][asked.rows()]
        self._refusals = _Seen(asked.flat, naming[asked.rows()], free)
        self._case, self._seats, self._maps = case, seats, [] if seats.hall is None else shown.tolist()
        for row in list(self._maps):
            try:
                self._states(row)
            except HallError as error:
                findings.add_one("wrong map", case.evidence(str(error), row))
                self._maps.remove(row)
        self.taken, self.free = np.full(len(seats.names), NEVER), np.full(len(seats.names), -1)
        for seen in self.each():
            np.minimum.at(self.taken, seen.seat[~seen.free], h.return_ns[seen.row[~seen.free]])
            np.maximum.at(self.free, seen.seat[seen.free], h.invoke_ns[seen.row[seen.free]])

    def each(self) -> Iterator[_Seen]:
        """First what all refusals showed, then what each map showed."""
        yield self._refusals
        for row in self._maps:
            states = self._states(row)
            yield _Seen(np.arange(len(states)), np.full(len(states), row), states == FREE)

    def _states(self, row: int) -> States:
        seating, hall = self._case.history.seating, self._seats.hall
        if seating is None or hall is None:
            raise ValueError("there are no maps without seats and a hall")
        return hall.states(seating.maps.string(int(seating.map[row])) or "")


def _compare(case: Case, bounds: _Bounds, seen: _Seen, taken: Ints, findings: Findings) -> int:
    """Find what no purchase explains; how much only purchases that failed can explain."""
    h = case.history
    invoked, returned = h.invoke_ns[seen.row], h.return_ns[seen.row]
    name = case.seats.names if case.seats is not None else ()

    def add(found: Bools, why: str) -> None:
        for is_map, violation in ((True, "wrong map"), (False, "false seat-taken")):
            findings.add(
                violation,
                np.flatnonzero(found & ((h.outcome[seen.row] != SEAT_TAKEN) == is_map)),
                lambda i: case.evidence(f"seat {name[seen.seat[i]]} {why}", seen.row[i], seats=[int(seen.seat[i])]),
            )

    too_early = ~seen.free & (returned < bounds.first[seen.seat])
    tried = bounds.tried[seen.seat] <= returned
    add(too_early & ~tried, "was taken by its answer, and nobody can have had it by then")
    surely = (bounds.surely_from[seen.seat] < invoked) & (bounds.surely_to[seen.seat] > returned)
    add(seen.free & surely, "was free by its answer, while a buyer surely had it")
    # Where nothing is given back, a seat that was shown as taken stays taken.
    again = seen.free & ~surely & ~bounds.given_back[seen.seat] & (taken[seen.seat] < invoked)
    add(again & ~tried, "was free by its answer, after another answer had shown it as taken")
    return int(((too_early | again) & tried).sum())


def _all_were_free(case: Case, rows: Ints, bounds: _Bounds, shown_free: Ints, findings: Findings) -> int:
    """A refusal that does not name the taken seats is wrong only if every wanted one must have been free.

    Returns how many only purchases that failed can explain.
    """
    h, seats = case.history, case.seats
    if seats is None:
        return 0
    rows = rows[seats.wanted.lengths[rows] > 1]
    wanted = seats.wanted.take(rows)
    row = rows[wanted.rows()]
    free_later = ~bounds.given_back[wanted.flat] & (shown_free[wanted.flat] > h.return_ns[row])
    free = (bounds.first[wanted.flat] > h.return_ns[row]) | free_later
    all_free = ~have_any(wanted, ~free)
    tried = have_any(wanted, bounds.tried[wanted.flat] <= h.return_ns[row])
    findings.add(
        "false seat-taken",
        rows[all_free & ~tried],
        lambda each: case.evidence(
            f"{seats.text(seats.wanted.row(each))} were refused, and nobody can have had any of them by then",
            each,
            seats=seats.wanted.row(each),
        ),
    )
    return int((all_free & tried).sum())
