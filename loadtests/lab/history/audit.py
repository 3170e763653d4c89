"""Audits: an event's committed mutations, as the service lists them, in columns.

What stands in an audit is for the checks to judge; here it only has to be readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from loadtests.lab.history.arrays import Codes, Ints, Names, Ragged, one_of
from loadtests.lab.history.columns import (
    Count,
    HistoryError,
    Number,
    Quantity,
    Source,
    name_of,
    read_first_row,
    read_table,
    refuse,
)

KINDS = ("sold", "cancelled", "held", "confirmed", "released", "expired")
SOLD, CANCELLED, HELD, CONFIRMED, RELEASED, EXPIRED = range(6)


class _Header(msgspec.Struct):
    event: str
    capacity: Count
    versions: Count
    aliases: bool = False


class _AuditLine(msgspec.Struct, gc=False):
    """A further line of an audit: one committed mutation."""

    version: Count
    kind: Literal["sold", "cancelled", "held", "confirmed", "released", "expired"]
    quantity: Quantity
    key: str | None = None
    order: str | None = None
    hold: str | None = None
    cart: str | None = None
    tickets: tuple[Number, ...] | None = ()
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Audit:
    """The committed mutations of one event in the order of the file: what its header says, and columns.

    ``key``, ``order``, ``hold`` and ``cart`` are ids of this audit's own ``Names``; ``expires_at`` is in microseconds.
    """

    event: str
    capacity: int | None
    versions: int
    keys: Names
    orders: Names
    holds: Names
    carts: Names
    line: Ints
    version: Ints
    kind: Codes
    key: Ints
    order: Ints
    hold: Ints
    cart: Ints
    quantity: Ints
    expires_at: Ints
    tickets: Ragged

    def __len__(self) -> int:
        return len(self.version)

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, object]]) -> Audit:
        """An audit from its header and records given as mappings. Raises HistoryError as reading does."""
        return read_audit(b"\n".join(map(msgspec.json.encode, lines)))


def read_audit(source: Source | str) -> Audit:
    """Read an audit from a path (plain or gzip) or from bytes.

    Raises HistoryError naming the line that is no JSON, lacks a field, or breaks off. Whether the records
    follow the rules is for the checks to say.
    """
    source = Path(source) if isinstance(source, str) else source
    header = read_first_row(source, _Header)
    if header.aliases:
        raise HistoryError(
            f"{name_of(source)}: it has aliases in the place of keys and ids, so no answer can be found in it. Read it "
            "with the admin's token"
        )
    columns, names = read_table(source, _AuditLine, first_row=1)
    audit = Audit(
        event=header.event,
        capacity=header.capacity,
        versions=header.versions,
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
        ("tickets", (audit.tickets.lengths == 0) & numbered),
    ):
        refuse(lacking, audit.line, name_of(source), f"the record lacks the field `{field}`")
    return audit
