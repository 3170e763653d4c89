"""The ledger: an event's committed mutations in order, as the audit lists them or as the answers imply them.

Its strings are ids of the history where the history knows them, and ids beyond those where it does not, so that
records and answers compare as integers. ``LATE`` is a sale that a confirmation made after its hold had expired.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtests.lab.checks.case.lifetimes import Lifetimes
from loadtests.lab.checks.case.mutations import Mutations
from loadtests.lab.checks.case.occupancy import Occupancy
from loadtests.lab.checks.case.seats import Seats
from loadtests.lab.history.arrays import Bools, Codes, Ints, Ragged, StringIds, lookup, one_of, pick
from loadtests.lab.history.audit import CANCELLED, CONFIRMED, EXPIRED, HELD, KINDS, RELEASED, SOLD, Audit
from loadtests.lab.history.history import CONFIRM, History

LATE = len(KINDS)


@dataclass(frozen=True)
class AuditLedger:
    """Records in file order. ``group`` is the mutation of a record's key, -1 if the history has none of that key.

    ``audit`` is the file that it came from, None where the ledger was derived from the answers.
    """

    capacity: int | None
    """With which the event was made."""
    versions: int
    audit: Audit | None
    group: Ints
    version: Ints
    kind: Codes
    order: Ints
    hold: Ints
    quantity: Ints
    expires_at: Ints
    tickets: Ragged
    seats: Ragged | None
    """The seats of each record, as ids of the case; None where nothing is said of seats."""

    def __len__(self) -> int:
        return len(self.version)

    @classmethod
    def of_audit(cls, audit: Audit, h: History, group: Ints, mutations: Mutations, seats: Seats | None) -> AuditLedger:
        """An audit seen from one event's history, whose rows are grouped by key."""
        keyed = np.flatnonzero((group >= 0) & (h.key >= 0))
        record_group = lookup(h.key[keyed], group[keyed], h.keys.translation(audit.keys)[audit.key], -1)
        hold = _shared_ids(h.holds, audit.holds, audit.hold)
        by_confirm = pick(mutations.op, record_group, -1) == CONFIRM
        late = (audit.kind == SOLD) & ((hold >= 0) | by_confirm)
        return cls(
            capacity=audit.first_capacity,
            versions=audit.versions,
            audit=audit,
            group=record_group,
            version=audit.version,
            kind=np.where(late, np.int8(LATE), audit.kind),
            order=_shared_ids(h.orders, audit.orders, audit.order),
            hold=np.where(late & (hold < 0), pick(mutations.hold, record_group, -1), hold),
            quantity=audit.quantity,
            expires_at=audit.expires_at,
            tickets=audit.tickets,
            seats=None if seats is None else seats.recorded,
        )

    def kind_of(self, record: int) -> str:
        """The name of a record's kind, as an audit has it."""
        return "sold" if self.kind[record] == LATE else KINDS[self.kind[record]]

    @property
    def gives(self) -> Bools:
        """Records that give new ticket numbers."""
        return one_of(self.kind, SOLD, HELD, LATE)

    @cached_property
    def sold(self) -> Ints:
        """Tickets sold after the first i records; index 0 is before all of them."""
        sign = one_of(self.kind, SOLD, LATE, CONFIRMED).astype(np.int64) - (self.kind == CANCELLED)
        return np.concatenate(([0], np.cumsum(sign * self.quantity)))

    def capacity_after(self, capacity: int) -> Ints:
        """The capacity after the first i records, of an event that was made with ``capacity``."""
        found = np.full(len(self) + 1, capacity)
        if self.audit is not None:
            for record in self.audit.amended.tolist():
                found[record + 1 :] = self.audit.capacities[record]
        return found

    @cached_property
    def held(self) -> Ints:
        """Tickets held after the first i records."""
        sign = (self.kind == HELD).astype(np.int64) - one_of(self.kind, CONFIRMED, RELEASED, EXPIRED)
        return np.concatenate(([0], np.cumsum(sign * self.quantity)))

    @cached_property
    def orders(self) -> Lifetimes:
        return Lifetimes.of(self.order, one_of(self.kind, SOLD, LATE, CONFIRMED), self.kind == CANCELLED)

    @cached_property
    def holds(self) -> Lifetimes:
        return Lifetimes.of(self.hold, self.kind == HELD, one_of(self.kind, CONFIRMED, RELEASED, EXPIRED))

    @cached_property
    def occupancy(self) -> Occupancy | None:
        """When each seat was taken; None where nothing is said of seats."""
        if self.seats is None:
            return None
        nameless = np.where(self.kind == HELD, self.hold, self.order) < 0
        nameless &= one_of(self.kind, SOLD, LATE, CONFIRMED, HELD)
        return Occupancy.of(self.seats, np.flatnonzero(nameless), self.orders, self.holds)

    @cached_property
    def whole(self) -> bool:
        """Versions 1, 2, … n without a gap, as many as the header says."""
        return self.versions == len(self) and bool((self.version == np.arange(1, len(self) + 1)).all())

    @property
    def end(self) -> int:
        """The highest version that the header or a record names."""
        return max(self.versions, int(self.version.max(initial=0)))

    def position(self, version: Ints) -> Ints:
        """How many records stand up to and with a version, -1 for a version that no record has.

        Where equal versions stand (a store without a lock keeps both), the last of them counts.
        """
        if self.whole:
            return np.where((version >= 0) & (version <= len(self)), version, -1)
        order = np.argsort(self.version, kind="stable")
        at = np.searchsorted(self.version[order], version, side="right") - 1
        known = (at >= 0) & (pick(self.version[order], at, -1) == version)
        return np.where(known, pick(order, at, -1) + 1, np.where(version == 0, 0, -1))

    def record_of(self, count: int) -> Ints:
        """For each of ``count`` mutations, the index of its first record, -1 without one."""
        out = np.full(count, -1)
        known = np.flatnonzero(self.group >= 0)[::-1]
        out[self.group[known]] = known
        return out


def _shared_ids(ours: StringIds, theirs: StringIds, ids: Ints) -> Ints:
    """The audit's ids as the history's; strings that the history does not have get ids beyond all of its own."""
    translated = ours.translation(theirs)[ids]
    return np.where((translated < 0) & (ids >= 0), ours.bound + ids, translated)
