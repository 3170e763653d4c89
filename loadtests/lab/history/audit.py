"""Audits: an event's committed mutations, as the service lists them, in columns.

What stands in an audit is for the checks to judge; here it only has to be readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from loadtests.lab.history.arrays import ABSENT, Codes, Ints, Ragged, StringIds, WordLists, one_of
from loadtests.lab.history.columns import (
    Count,
    HistoryError,
    Number,
    Source,
    name_of,
    read_first_row,
    read_table,
    refuse,
)

Kind = Literal["sold", "cancelled", "held", "confirmed", "released", "expired", "amended"]
KINDS: tuple[str, ...] = get_args(Kind)
SOLD, CANCELLED, HELD, CONFIRMED, RELEASED, EXPIRED, AMENDED = range(7)


class AuditHeader(msgspec.Struct):
    """The first line of an audit. ``hall`` may be anything: whether it is one is not looked at here."""

    event: str
    capacity: Count
    versions: Count
    aliases: bool = False
    hall: Any = None


class _AuditLine(msgspec.Struct, gc=False):
    """A further line of an audit: one committed mutation."""

    version: Count
    kind: Kind
    quantity: Count = 0
    key: str | None = None
    order: str | None = None
    hold: str | None = None
    cart: str | None = None
    tickets: tuple[Number, ...] | None = ()
    seats: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    capacity: Count | None = None
    capacity_before: Count | None = None


@dataclass(frozen=True)
class Audit:
    """The committed mutations of one event in the order of the file: what its header says, and columns.

    ``key``, ``order``, ``hold`` and ``cart`` are ids of this audit's own ``StringIds``; ``expires_at`` is in
    microseconds. ``hall`` is as the header has it, None where it has none: whether it is one is not looked at here.
    """

    event: str
    capacity: int | None
    versions: int
    hall: object
    keys: StringIds
    orders: StringIds
    holds: StringIds
    carts: StringIds
    line: Ints
    version: Ints
    kind: Codes
    key: Ints
    order: Ints
    hold: Ints
    cart: Ints
    quantity: Ints
    expires_at: Ints
    capacities: Ints
    """From the record on; ABSENT but in ``amended``."""
    capacity_before: Ints
    tickets: Ragged
    seats: WordLists

    def __len__(self) -> int:
        return len(self.version)

    @property
    def amended(self) -> Ints:
        """The records that change the event."""
        return np.flatnonzero(self.kind == AMENDED)

    @property
    def first_capacity(self) -> int | None:
        """With which the event was made: the header has the one at its end."""
        amended = self.amended
        return int(self.capacity_before[amended[0]]) if len(amended) else self.capacity

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, object]]) -> Audit:
        """An audit from its header and records given as mappings. Raises HistoryError as reading does."""
        return read_audit(b"\n".join(map(msgspec.json.encode, lines)))


def read_header(source: Source) -> AuditHeader:
    """Read the header alone. Raises HistoryError as ``read_audit`` does."""
    return read_first_row(source, AuditHeader)


def read_audit(source: Source | str) -> Audit:
    """Read an audit from a path (plain or gzip) or from bytes.

    Raises HistoryError naming the line that is no JSON, lacks a field, or breaks off. Whether the records
    follow the rules is for the checks to say.
    """
    source = Path(source) if isinstance(source, str) else source
    header = read_header(source)
    if header.aliases:
        raise HistoryError(
            f"{name_of(source)}: it has aliases in the place of keys and ids, so no answer can be found in it. Read it "
            "with the admin's token"
        )
    columns, names = read_table(source, _AuditLine, first_row=1)
    columns["capacities"] = columns.pop("capacity")
    audit = Audit(
        event=header.event,
        capacity=header.capacity,
        versions=header.versions,
        hall=header.hall,
        keys=names["key"],
        orders=names["order"],
        holds=names["hold"],
        carts=names["cart"],
        **columns,
    )
    numbered = bool(audit.tickets.lengths.any())
    for field, lacking in (
        ("key", (audit.key < 0) & (audit.kind != EXPIRED)),
        ("order", (audit.order < 0) & one_of(audit.kind, SOLD, CANCELLED, CONFIRMED)),
        ("hold", (audit.hold < 0) & one_of(audit.kind, HELD, CONFIRMED, RELEASED, EXPIRED)),
        ("tickets", (audit.tickets.lengths == 0) & numbered & (audit.kind != AMENDED)),
        ("quantity", (audit.quantity == 0) & (audit.kind != AMENDED)),
        ("capacity", (audit.capacities == ABSENT) & (audit.kind == AMENDED)),
        ("capacity_before", (audit.capacity_before == ABSENT) & (audit.kind == AMENDED)),
    ):
        refuse(lacking, audit.line, name_of(source), f"the record lacks the field `{field}`")
    return audit
