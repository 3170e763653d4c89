"""Which seats were free, version by version: for what was granted as the best, and for the maps that reads showed.

The records are gone through once, in order. Whether better seats were free is asked of two strips of bytes: one in
the order of the best, and one in the hall's order with a taken place between two rows, in which free neighbours are a
run of zero bytes. Such a question is answered by one search in at most 100,000 bytes, which the processor does in
microseconds; a change of a seat costs the same however large the hall is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import LATE, AuditLedger
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.observers import versions_of
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.replay import evidence_of
from loadtests.lab.history.arrays import Ints, one_of, pick
from loadtests.lab.history.audit import CONFIRMED, HELD, SOLD
from loadtests.lab.history.history import BUY, HOLD, NOT_TOGETHER
from loadtests.lab.protocol import halls
from loadtests.lab.protocol.halls import Hall, HallError

_STRETCH = 4096


class _Found(NamedTuple):
    """A violation of a record, by its index, or of a row of the history; and the seats that it is about."""

    violation: str
    record: int
    row: int
    text: str
    seats: list[int]


def check(case: Case, placement: Placement) -> Findings:
    """Compare what was granted as the best, refused for want of neighbours, or shown in a map, with what was free."""
    ledger, seats = placement.ledger, case.seats
    if seats is None or seats.hall is None or ledger is None or ledger.seats is None:
        return Findings(applies=False)
    findings = Findings()
    found: dict[str, list[_Found]] = defaultdict(list)
    for each in _Sweep(case, seats, seats.hall, ledger, ledger.position(versions_of(case, placement))).violations():
        found[each.violation].append(each)
    for violation, several in found.items():

        def explain(at: int, several: list[_Found] = several) -> Evidence:
            one = several[at]
            if one.record < 0:
                return case.evidence(one.text, one.row, seats=one.seats)
            return evidence_of(case, ledger, one.text, one.record, seats=one.seats)

        findings.add(violation, np.arange(len(several)), explain)
    return findings


class _Sweep:
    """One way through the records; ``taken`` and ``by_rank`` are the two strips, zero where a seat is free."""

    def __init__(self, case: Case, seats: Seats, hall: Hall, ledger: AuditLedger, at: Ints) -> None:
        self.case, self.seats, self.hall, self.ledger = case, seats, hall, ledger
        h = case.history
        self.place = (np.arange(len(hall)) + hall.row_of + 1).tolist()  # one place stays taken ahead of each row
        self.rank = hall.rank.tolist()
        self.row_of, self.row_starts = hall.row_of.tolist(), hall.row_starts.tolist()
        self.taken = bytearray(b"\1") * (len(hall) + len(self.row_starts))
        for place in self.place:
            self.taken[place] = 0
        self.by_rank = bytearray(len(hall))
        self.owners = [0] * len(hall)
        refused = np.flatnonzero((h.outcome == NOT_TOGETHER) & (at >= 0) & ~seats.astray)
        shown = np.flatnonzero((h.seating.map >= 0) & (at >= 0)) if h.seating is not None else refused[:0]
        self.refused, self.shown = _by_position(refused, at), _by_position(shown, at)
        self.states = np.zeros(len(hall), np.uint8) if len(shown) else None
        # A record is one of the best if its key asked for no seats by name.
        asking = pick(case.mutations.row, ledger.group, -1)
        best = (asking >= 0) & one_of(ledger.kind, SOLD, HELD) & one_of(pick(h.op, asking, -1), BUY, HOLD)
        best[best] = ~seats.asked[asking[best]] & ~seats.astray[asking[best]]
        self.asking = np.where(best, asking, -1).tolist()
        self.is_needed = bool(best.any() or len(refused) or len(shown))

    def violations(self) -> Iterator[_Found]:
        """Everything that was found wrong, in the order of the records."""
        recorded = self.ledger.seats
        if not self.is_needed or recorded is None:
            return
        gives, stay = self.ledger.gives.tolist(), (self.ledger.kind == CONFIRMED).tolist()
        states = np.full(len(self.ledger), halls.FREE)
        states[self.ledger.kind == HELD] = halls.HELD
        states[one_of(self.ledger.kind, SOLD, LATE, CONFIRMED)] = halls.SOLD
        offsets, flat = recorded.offsets.tolist(), recorded.flat.tolist()
        yield from self._seen_at(0)
        for record, row in enumerate(self.asking):
            theirs = [seat for seat in flat[offsets[record] : offsets[record + 1]] if seat < len(self.hall)]
            if row >= 0 and theirs:
                yield from self._granted(record, row, theirs)
            if not stay[record]:
                self._change(theirs, 1 if gives[record] else -1)
            if self.states is not None:
                self.states[theirs] = states[record]
            yield from self._seen_at(record + 1)

    def _change(self, seats: list[int], by: int) -> None:
        for seat in seats:
            owners = self.owners[seat] = max(0, self.owners[seat] + by)
            self.taken[self.place[seat]] = self.by_rank[self.rank[seat]] = owners > 0

    def _granted(self, record: int, row: int, theirs: list[int]) -> Iterator[_Found]:
        seats, names = self.seats, self.seats.text(theirs)
        low, high = int(seats.low[row]), int(seats.high[row])
        if any(self.owners[seat] for seat in theirs) or len(set(theirs)) < len(theirs):
            return  # it was not free to be the best: a violation of its own
        if min(theirs) < low or max(theirs) >= high:
            yield _Found("not the best", record, row, f"it has {names}, outside of the section it asked for", theirs)
        elif not seats.together[row]:
            last = max(self.rank[seat] for seat in theirs)
            if self.by_rank.count(0, low, last + 1) > len(theirs):
                better_first = (int(at) for at in np.argsort(self.hall.rank) if low <= at < high and at not in theirs)
                better = next(seat for seat in better_first if not self.owners[seat])
                text = f"it was given {names} as the best, and the better seat {seats.names[better]} was free"
                yield _Found("not the best", record, row, text, [better, *theirs])
        elif not self.hall.are_neighbours(theirs):
            text = f"it asked for neighbours and was given {names}"
            yield _Found("not neighbours", record, row, text, theirs)
        else:
            window = self._better_window(min(theirs), len(theirs), low, high)
            if window is not None:
                better_ones = list(range(window, window + len(theirs)))
                text = f"it was given {names} as the best neighbours, and {seats.text(better_ones)} were free"
                yield _Found("not the best", record, row, text, better_ones + theirs)

    def _better_window(self, first: int, quantity: int, low: int, high: int) -> int | None:
        """The first seat of so many free neighbours that are better than those from ``first`` on; None if none are."""
        run, row = bytes(quantity), self.row_of[first]
        start, end = self.row_starts[row], self.row_starts[row + 1]
        found = _first_run(self.taken, run, self.place[low], self.place[start])
        if found >= 0:
            return self._seat_at(found, low, high)
        # Nearer to the middle are the windows between this one and its mirror image; the image is as near.
        position, image = first - start, (end - start) - quantity - (first - start)
        nearest, farthest = (image, position - 1) if image < position else (position + 1, image - 1)
        if nearest > farthest:
            return None
        found = _first_run(self.taken, run, self.place[start + nearest], self.place[start + farthest] + quantity)
        return None if found < 0 else self._seat_at(found, low, high)

    def _seat_at(self, place: int, low: int, high: int) -> int:
        return low + int(np.searchsorted(np.array(self.place[low:high]), place))

    def _seen_at(self, position: int) -> Iterator[_Found]:
        for row in self.refused.get(position, ()):
            yield from self._not_together(row, position)
        for row in self.shown.get(position, ()):
            yield from self._map(row, position)

    def _not_together(self, row: int, position: int) -> Iterator[_Found]:
        low, high = int(self.seats.low[row]), int(self.seats.high[row])
        quantity = int(self.case.history.quantity[row])
        found = -1
        if quantity <= high - low:
            found = _first_run(self.taken, bytes(quantity), self.place[low], self.place[high - 1] + 1)
        if found >= 0:
            first = self._seat_at(found, low, high)
            there = list(range(first, first + quantity))
            text = f"{quantity} neighbours were refused after {position} mutations; {self.seats.text(there)} were free"
            yield _Found("false not-together", -1, row, text, there)
        elif (free := self.by_rank.count(0, low, high)) < quantity:
            text = (
                f"it was told that {quantity} seats are free apart; after {position} mutations {free} were free at all"
            )
            yield _Found("false not-together", -1, row, text, [])

    def _map(self, row: int, position: int) -> Iterator[_Found]:
        seating, states = self.case.history.seating, self.states
        if seating is None or states is None:
            return
        try:
            shown = self.hall.states(seating.maps.string(int(seating.map[row])) or "")
        except HallError as error:
            yield _Found("wrong map", -1, row, str(error), [])
            return
        wrong = np.flatnonzero(shown != states).tolist()
        if wrong:
            seat = wrong[0]
            text = (
                f"its map shows {self.seats.names[seat]} as {halls.STATES[shown[seat]]} after {position} mutations; it "
                f"was {halls.STATES[states[seat]]}" + (f"; {len(wrong)} seats differ" if len(wrong) > 1 else "")
            )
            yield _Found("wrong map", -1, row, text, wrong[:1])


def _first_run(strip: bytearray, run: bytes, low: int, high: int) -> int:
    """Where the first such run of zeros begins from ``low`` on and ends before ``high``, -1 if there is none.

    Single bytes are searched for much faster than runs, so long stretches of taken seats are leapt over.
    """
    at = strip.find(0, low, high)
    while at >= 0:
        found = strip.find(run, at, min(high, at + _STRETCH + len(run) - 1))
        if found >= 0:
            return found
        at = strip.find(0, at + _STRETCH, high)
    return -1


def _by_position(rows: Ints, at: Ints) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for row in rows.tolist():
        found[int(at[row])].append(row)
    return dict(found)
