"""Ticket numbers that stand in more than one answer, and whose they are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtests.lab.checks.case.mutations import Mutations
from loadtests.lab.history.arrays import Ints, one_of
from loadtests.lab.history.history import BUY, CONFIRM, HOLD, OK, History


@dataclass(frozen=True)
class RepeatedNumbers:
    """Occurrences in columns: a number, its owner, its order, and the mutation that it was answered to.

    The owner of a hold's numbers is the hold, and so it is of those in its confirmation. Only orders have an
    order, which is their mutation; it is -1 for holds.
    """

    number: Ints
    owner: Ints
    order: Ints
    mutation: Ints

    @classmethod
    def of(cls, h: History, group: Ints, mutations: Mutations) -> RepeatedNumbers:
        """All occurrences of the numbers that occur more than once in an event's history."""
        m = mutations
        rows = np.flatnonzero((h.outcome == OK) & one_of(h.op, BUY, HOLD, CONFIRM))
        given = h.tickets.take(rows)
        ordered = np.sort(given.flat)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        entries = np.flatnonzero(np.isin(given.flat, repeated)) if len(repeated) else np.zeros(0, np.int64)
        mutation = group[rows[given.rows()[entries]]]
        of_hold = one_of(m.op[mutation], HOLD, CONFIRM) & (m.hold[mutation] >= 0)
        return cls(
            number=given.flat[entries],
            owner=np.where(of_hold, len(m) + m.hold[mutation], mutation),
            order=np.where(m.op[mutation] == HOLD, -1, mutation),
            mutation=mutation,
        )
