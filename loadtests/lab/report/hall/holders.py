"""Who holds each place of an event after the sale, by the buyers' answers alone.

A buyer is an acknowledged order that was not cancelled. An order whose cancellation got no answer may have been: it has
its place only where nobody else has it, so that no seat looks as if it had been sold twice.

Ticket numbers are never given twice: the places of cancelled orders and ended holds are sold again under new numbers.
So a ticket with a number beyond the capacity has a place that nobody holds any more. Where all places are taken, the
ticket has a place that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.lab.experiment.measurement import span_ns
from loadtests.lab.history.arrays import Bools, Ints, one_of
from loadtests.lab.history.audit import CONFIRMED, EXPIRED, RELEASED, Audit
from loadtests.lab.history.history import CANCEL, CONFIRM, HOLD, OK, REFUSED, RELEASE, UNKNOWN
from loadtests.lab.history.operations import Operations
from loadtests.lab.report.hall.plan import SeatingPlan

SeatsOf = Callable[[int], Sequence[str]]
"""The ids of the seats that a row's buyer has by the answer."""

MOST_BEYOND = 1_000
"""The most places that do not exist that are drawn; all are counted."""


@dataclass(frozen=True)
class SeatOrder:
    """An acknowledged order: its id (else its client), when it was answered, and whether the audit lacks it."""

    who: str
    seconds: float
    lost: bool


@dataclass(frozen=True)
class Claims:
    """Which row of a history has which place, each pair once, in the order of the places."""

    place: Ints
    row: Ints

    @classmethod
    def of(cls, place: Ints, row: Ints) -> Claims:
        order = np.lexsort((row, place))
        place, row = place[order], row[order]
        new = np.ones(len(place), np.bool_)
        new[1:] = (place[1:] != place[:-1]) | (row[1:] != row[:-1])
        return cls(place[new], row[new])

    def rows(self, place: int) -> Ints:
        low, high = np.searchsorted(self.place, (place, place + 1))
        return self.row[low:high]


@dataclass(frozen=True)
class HallAfterSale:
    """An event after the sale.

    ``buyers``, ``held`` and ``lost`` have an entry for each place of the plan, and then for each place that does not
    exist: how many hold it, whether it is set aside for somebody who has not paid, whether an order of it is missing in
    the audit. ``labels`` are the names of places that are not called as the plan says. ``beyond`` counts the places
    that do not exist, ``lost_orders`` the missing orders; None without an audit.
    """

    plan: SeatingPlan
    buyers: Ints
    held: Bools
    lost: Bools
    labels: Mapping[int, str]
    beyond: int
    lost_orders: int | None
    claims: Claims
    run: Operations
    began_ns: int
    lost_rows: frozenset[int]

    def who(self, place: int) -> list[SeatOrder]:
        """Those who hold a place, in the order of their answers."""
        run, rows = self.run, self.claims.rows(place)
        return [
            SeatOrder(
                who=f"order {order}" if order else f"client {run.process[row]}",
                seconds=(int(run.return_ns[row]) - self.began_ns) / 1e9,
                lost=row in self.lost_rows,
            )
            for row in rows[np.argsort(run.return_ns[rows], kind="stable")].tolist()
            for order in [run.names["order"].string(int(run.order[row]))]
        ]


def after_the_sale(
    run: Operations, rows: Ints, plan: SeatingPlan, seats: SeatsOf, audit: Audit | None
) -> HallAfterSale:
    """The hall of the event whose operations are at ``rows``."""
    sales, doubtful = _standing(run, rows)
    named = _Seats.of(plan, seats) if plan.has_seats else _TicketNumbers(run, plan.places)
    claims, labels = named.placed(sales, np.concatenate((doubtful, _open_holds(run, rows, audit))))
    lost_rows = _lost(run, np.concatenate((sales, doubtful)), audit)
    count = plan.places + min(MOST_BEYOND, named.beyond)
    of_sales = np.isin(claims.row, np.concatenate((sales, doubtful)))
    bought = Claims(claims.place[of_sales], claims.row[of_sales])
    held = np.zeros(count, np.bool_)
    held[claims.place[~of_sales]] = True
    lost = np.zeros(count, np.bool_)
    lost[bought.place[np.isin(bought.row, lost_rows)]] = True
    return HallAfterSale(
        plan=plan,
        buyers=np.bincount(bought.place, minlength=count),
        held=held,
        lost=lost,
        labels=labels,
        beyond=named.beyond,
        lost_orders=None if audit is None else len(lost_rows),
        claims=bought,
        run=run,
        began_ns=span_ns(run, rows)[0],
        lost_rows=frozenset(lost_rows.tolist()),
    )


def _standing(run: Operations, rows: Ints) -> tuple[Ints, Ints]:
    """The acknowledged orders that were not cancelled, and those that may have been."""
    sales = run.sales[np.isin(run.sales, rows)]
    cancels = rows[(run.op[rows] == CANCEL) & (run.order[rows] >= 0)]
    surely = run.order[cancels[run.outcome[cancels] == OK]]
    maybe = run.order[cancels[run.outcome[cancels] == UNKNOWN]]
    sales = sales[~np.isin(run.order[sales], surely)]
    is_doubtful = np.isin(run.order[sales], maybe)
    return sales[~is_doubtful], sales[is_doubtful]


def _open_holds(run: Operations, rows: Ints, audit: Audit | None) -> Ints:
    """The acknowledged holds that were neither confirmed nor released, and by the audit did not expire."""
    holds = rows[(run.op[rows] == HOLD) & (run.outcome[rows] == OK)]
    ends = rows[one_of(run.op[rows], CONFIRM, RELEASE) & (run.hold[rows] >= 0)]
    ended = one_of(run.outcome[ends], OK, REFUSED) | ((run.op[ends] == RELEASE) & (run.outcome[ends] == UNKNOWN))
    holds = holds[~np.isin(run.hold[holds], run.hold[ends[ended]])]
    if audit is not None:
        closed = audit.hold[one_of(audit.kind, CONFIRMED, RELEASED, EXPIRED)]
        known = audit.holds.translation(run.names["hold"])[run.hold[holds]]
        holds = holds[~np.isin(known, closed[closed >= 0])]
    still: Ints = holds
    return still


def _lost(run: Operations, sales: Ints, audit: Audit | None) -> Ints:
    """The acknowledged orders whose key has no record in the audit."""
    if audit is None or not len(sales):
        return sales[:0]
    keyed = sales[run.key[sales] >= 0]
    is_missing = audit.keys.translation(run.names["key"])[run.key[keyed]] < 0
    missing: Ints = keyed[is_missing]
    return missing


def _claims(of_sales: Ints, rows: Ints, of_others: Ints, more_rows: Ints, places: int) -> Claims:
    """The claims that are drawn: those of sales, and one other at each place."""
    _, first = np.unique(of_others, return_index=True)
    place = np.concatenate((of_sales, of_others[first]))
    row = np.concatenate((rows, more_rows[first]))
    drawn = (place >= 0) & (place < places + MOST_BEYOND)
    return Claims.of(place[drawn], row[drawn])


class _TicketNumbers:
    """Ticket numbers as places: number 1 is the first place of ``places``."""

    def __init__(self, run: Operations, places: int) -> None:
        self._run, self._places = run, places
        self.beyond = 0

    def placed(self, sales: Ints, others: Ints) -> tuple[Claims, dict[int, str]]:
        """The places of sales, and of others where nobody else has them; the names of those with higher numbers."""
        numbers, rows = self._given(sales)
        more, more_rows = self._given(others)
        inside, wanted = self._inside(numbers), self._inside(more)
        taken = np.zeros(self._places, np.bool_)
        taken[numbers[inside] - 1] = True
        reserved = np.zeros(self._places, np.bool_)
        reserved[more[wanted] - 1] = True
        free = np.flatnonzero(~taken)
        outside = np.unique(numbers[~inside])
        filled = free[np.argsort(reserved[free], kind="stable")][: len(outside)]
        self.beyond = len(outside) - len(filled)
        places = np.concatenate((filled, self._places + np.arange(self.beyond)))
        taken[filled] = True
        of_sales = self._by(numbers, inside, outside, places)
        free = np.flatnonzero(~taken & ~reserved)
        outsiders = np.unique(more[~wanted])[: len(free)]
        of_others = self._by(more, wanted, outsiders, free[: len(outsiders)])
        alone = (of_others >= 0) & ~taken[of_others]
        new = (*zip(outside, places, strict=True), *zip(outsiders, free, strict=False))
        labels = {int(where): f"ticket {number}" for number, where in new}
        return _claims(of_sales, rows, of_others[alone], more_rows[alone], self._places), labels

    def _given(self, rows: Ints) -> tuple[Ints, Ints]:
        tickets = self._run.tickets.take(rows)
        return tickets.flat, rows[tickets.rows()]

    def _inside(self, numbers: Ints) -> Bools:
        inside: Bools = (numbers >= 1) & (numbers <= self._places)
        return inside

    @staticmethod
    def _by(numbers: Ints, inside: Bools, outside: Ints, places: Ints) -> Ints:
        """The place of each number; -1 of those that have none."""
        found = np.where(inside, numbers - 1, -1)
        if len(outside):
            at = np.minimum(np.searchsorted(outside, numbers), len(outside) - 1)
            found = np.where(~inside & (outside[at] == numbers), places[at], found)
        return found


@dataclass
class _Seats:
    """Seats by their ids. One that is not in the hall is a place that does not exist."""

    plan: SeatingPlan
    seats: SeatsOf
    index: dict[str, int]
    beyond: int = 0

    @classmethod
    def of(cls, plan: SeatingPlan, seats: SeatsOf) -> _Seats:
        index = {row.label(place): place for row in plan.rows for place in range(row.first, row.first + row.count)}
        return cls(plan, seats, index)

    def placed(self, sales: Ints, others: Ints) -> tuple[Claims, dict[int, str]]:
        """The places of sales, and of others where nobody else has them; the names of those that are in no hall."""
        labels: dict[int, str] = {}
        of_sales, rows = self._given(sales, labels)
        self.beyond = len(labels)
        of_others, more_rows = self._given(others, {})
        alone = ~np.isin(of_others, of_sales) & (of_others < self.plan.places)
        return _claims(of_sales, rows, of_others[alone], more_rows[alone], self.plan.places), labels

    def _given(self, rows: Ints, labels: dict[int, str]) -> tuple[Ints, Ints]:
        """Pairs of place and row; what is in no hall is called as its id in ``labels``."""
        unknown: dict[str, int] = {}
        places, owners = [], []
        for row in rows.tolist():
            for seat in self.seats(row):
                place = self.index.get(seat)
                if place is None:
                    place = unknown.setdefault(seat, self.plan.places + len(unknown))
                    labels[place] = seat
                places.append(place)
                owners.append(row)
        return np.array(places, np.int64), np.array(owners, np.int64)
