"""A case: one event's part of a history, prepared once for every check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtests.lab.checks.case.ledger import Ledger
from loadtests.lab.checks.case.mutations import Mutations, group_by_key, mutations_of
from loadtests.lab.checks.case.ticket_numbers import RepeatedNumbers
from loadtests.lab.checks.findings import Evidence
from loadtests.lab.checks.verdict import WitnessOperation
from loadtests.lab.history.arrays import ABSENT, NEVER, Ints
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import FAIL, OK, OPS, OUTCOMES, READ, SOLD_OUT, UNKNOWN, History


@dataclass(frozen=True)
class Case:
    """One event: the operations that say anything, its mutations, its capacity, its audit.

    Left out are operations that surely had no effect, and reads without an answer. ``group`` is each row's
    mutation, -1 for a read. ``observers`` are the rows that changed nothing but say what they saw: reads and
    refusals. ``capacity`` is the caller's, else the audit's, else None.
    """

    event: str
    history: History
    group: Ints
    mutations: Mutations
    observers: Ints
    capacity: int | None
    audit: Ledger | None

    @cached_property
    def repeated_numbers(self) -> RepeatedNumbers:
        """The ticket numbers that stand in more than one answer."""
        return RepeatedNumbers.of(self.history, self.group, self.mutations)

    def evidence(self, text: str, *rows: int, records: Iterable[int] = ()) -> Evidence:
        """A sentence, the operations at these rows of the history, and places in the audit."""
        return Evidence(text, [operation_of(self.history, row) for row in rows], [int(place) for place in records])


def operation_of(h: History, row: int) -> WitnessOperation:
    """A row of a history as a witness names it."""
    (invoked,), (returned,) = h.recorded(np.array([row]))
    version = int(h.version[row])
    return WitnessOperation(
        op=OPS[h.op[row]],
        line=int(h.line[row]),
        event=h.events[h.event[row]],
        process=int(h.process[row]),
        invoke_ns=int(invoked),
        return_ns=None if returned == NEVER else int(returned),
        key=h.keys.string(int(h.key[row])),
        attempt=int(h.attempt[row]),
        outcome=OUTCOMES[h.outcome[row]],
        version=None if version == ABSENT else version,
    )


def prepare(history: History, event: int, audit: Audit | None, capacity: int | None) -> Case:
    """The case of one event of a history; ``capacity`` as the event's creator named it, or None."""
    says_something = (history.outcome != FAIL) & ((history.op != READ) | (history.outcome == OK))
    says_something &= (history.outcome != SOLD_OUT) | (history.seat < 0)  # a refusal of a seat is no refusal of others
    rows = np.flatnonzero((history.event == event) & says_something)
    h = history if len(rows) == len(history) else history.take(rows)
    group, count = group_by_key(h)
    mutations = mutations_of(h, group, count)
    if capacity is None and audit is not None:
        capacity = audit.capacity
    return Case(
        event=history.events[event],
        history=h,
        group=group,
        mutations=mutations,
        observers=np.flatnonzero((h.outcome != UNKNOWN) & ((h.op == READ) | (h.outcome != OK))),
        capacity=capacity,
        audit=None if audit is None else Ledger.of_audit(audit, h, group, mutations),
    )
