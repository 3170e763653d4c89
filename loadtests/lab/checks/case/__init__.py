"""A case: one event's part of a history, prepared once for every check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtests.lab.checks.case.ledger import AuditLedger
from loadtests.lab.checks.case.mutations import Mutations, group_by_key, mutations_of
from loadtests.lab.checks.case.seats import Seats, seats_of
from loadtests.lab.checks.case.ticket_numbers import RepeatedNumbers
from loadtests.lab.checks.findings import Evidence
from loadtests.lab.checks.verdict import WitnessOperation
from loadtests.lab.history.arrays import ABSENT, NEVER, Ints, one_of
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import (
    FAIL,
    NOT_TOGETHER,
    OK,
    OPS,
    OUTCOMES,
    READ,
    SEAT_TAKEN,
    SECTION_SOLD_OUT,
    UNKNOWN,
    History,
)
from loadtests.lab.protocol.halls import Hall


@dataclass(frozen=True)
class Case:
    """One event: the operations that say anything, its mutations, its capacity, its audit.

    Left out are operations that surely had no effect, and reads without an answer. ``group`` is each row's
    mutation, -1 for a read. ``observers`` are the rows that changed nothing but say what they saw: reads and
    refusals; ``bare`` are refusals of seats that tell no version. ``capacity`` is the caller's, else the audit's, else
    None. ``seats`` is None where nothing is said of seats.
    """

    event: str
    history: History
    group: Ints
    mutations: Mutations
    observers: Ints
    bare: Ints
    capacity: int | None
    most: int | None
    """The largest that it ever was: an admin may change it, and the audit says so."""
    audit: AuditLedger | None
    seats: Seats | None

    @cached_property
    def one_clock(self) -> bool:
        """Whether all operations are of one host: clocks of several do not compare."""
        return len(np.unique(self.history.host)) <= 1

    @cached_property
    def repeated_numbers(self) -> RepeatedNumbers:
        """The ticket numbers that stand in more than one answer."""
        return RepeatedNumbers.of(self.history, self.group, self.mutations)

    def evidence(self, text: str, *rows: int, records: Iterable[int] = (), seats: Iterable[int] = ()) -> Evidence:
        """A sentence, the operations at these rows of the history, places in the audit, and seats."""
        named = [] if self.seats is None else [self.seats.names[seat] for seat in dict.fromkeys(seats)]
        operations = [operation_of(self.history, row) for row in rows]
        return Evidence(text, operations, [int(place) for place in records], named)


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


def prepare(history: History, event: int, audit: Audit | None, capacity: int | None, hall: Hall | None = None) -> Case:
    """The case of one event of a history; ``capacity`` as the event's creator named it, or None."""
    says_something = (history.outcome != FAIL) & ((history.op != READ) | (history.outcome == OK))
    rows = np.flatnonzero((history.event == event) & says_something)
    h = history if len(rows) == len(history) else history.take(rows)
    group, count = group_by_key(h)
    mutations = mutations_of(h, group, count)
    failed = None
    if history.seating is not None:
        failed = history.take(np.flatnonzero((history.event == event) & (history.outcome == FAIL)))
    seats = seats_of(h, group, mutations, audit=audit, hall=hall, failed=failed)
    of_seats = one_of(h.outcome, SEAT_TAKEN, SECTION_SOLD_OUT, NOT_TOGETHER)
    bare = of_seats & (h.version == ABSENT)  # such a refusal is one of seats, and says nothing of the event
    if capacity is None and audit is not None:
        capacity = audit.first_capacity
    changed = [] if audit is None else audit.capacities[audit.amended].tolist()
    return Case(
        event=history.events[event],
        history=h,
        group=group,
        mutations=mutations,
        observers=np.flatnonzero(~bare & (h.outcome != UNKNOWN) & ((h.op == READ) | (h.outcome != OK))),
        bare=np.flatnonzero(bare),
        capacity=capacity,
        most=None if capacity is None else max(capacity, *changed, 0),
        audit=None if audit is None else AuditLedger.of_audit(audit, h, group, mutations, seats),
        seats=seats,
    )
