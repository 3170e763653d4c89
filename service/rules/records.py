"""The data of the office: events, commands, the records that they leave, and orders and holds as records leave them.

It is data alone: ``inventory`` decides what may be written when, and exports these names too. A store needs only this
and the view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Literal

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A show with a fixed number of tickets. Never changes after it was created."""

    event: str
    name: str
    capacity: int
    opens_at: datetime | None = None
    max_per_order: int = 10
    max_per_buyer: int | None = None
    lab: bool = False
    """Made for an experiment: only such an event obeys a guard that does not exclude."""
    max_held: int | None = None
    """Most tickets that all holds together may set aside at once."""
    max_hold_s: float | None = None
    """The longest that a hold may be asked for."""


class Sell(msgspec.Struct, frozen=True):
    """Sell ``quantity`` tickets to one order, all or none."""

    key: str
    request: str
    """Fingerprint of the whole request; a key that comes again with another one is refused."""
    order: str
    quantity: int
    buyer: str | None = None
    cart: str = ""
    """The cart that it is part of; empty for a single purchase."""


class Cancel(msgspec.Struct, frozen=True):
    """Give the tickets of an order back."""

    key: str
    request: str
    order: str


class Hold(msgspec.Struct, frozen=True):
    """Set ``quantity`` tickets aside for ``seconds``, all or none."""

    key: str
    request: str
    hold: str
    quantity: int
    seconds: float
    buyer: str | None = None


class Confirm(msgspec.Struct, frozen=True):
    """Turn a hold into an order. One that has expired is sold again, under new numbers, if the places are there."""

    key: str
    request: str
    hold: str
    order: str


class Release(msgspec.Struct, frozen=True):
    """Give the tickets of a hold back."""

    key: str
    request: str
    hold: str


class Sweep(msgspec.Struct, frozen=True):
    """Expire the holds that are due, and nothing else."""

    key: str = ""
    request: str = ""


Command = Sell | Cancel | Hold | Confirm | Release | Sweep

Kind = Literal["sold", "cancelled", "held", "confirmed", "released", "expired"]

CHANGES: dict[Kind, tuple[int, int, bool]] = {
    "sold": (1, 0, True),
    "cancelled": (-1, 0, False),
    "held": (0, 1, True),
    "confirmed": (1, -1, False),
    "released": (0, -1, False),
    "expired": (0, -1, False),
}
"""For each kind: the change of the tickets sold and of those held for each ticket, and whether the numbers are new.

A later record of the same tickets repeats their numbers."""


AUDITED = ("version", "kind", "key", "hold", "order", "cart", "quantity", "tickets", "expires_at")
"""The fields of a record in the public audit, in this order."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One committed mutation: a line of the audit, with what is needed to repeat its answer.

    A field that a kind does not have is empty: ``expired`` has no key (no client asked for it), ``held`` and
    ``released`` have no order, ``sold`` has a hold only if it is a late confirmation.
    """

    version: int
    kind: Kind
    key: str
    order: str
    quantity: int
    tickets: tuple[int, ...]
    remaining: int
    """The tickets that were left right after this mutation; not part of the public audit."""
    request: str = ""
    buyer: str | None = None
    hold: str = ""
    expires_at: datetime | None = None
    """Until when tickets are held; in ``held`` alone."""
    cart: str = ""
    """The cart that it was sold with: the same in each of its events."""

    @property
    def sold(self) -> int:
        """By how much the tickets sold grow."""
        return CHANGES[self.kind][0] * self.quantity

    @property
    def held(self) -> int:
        """By how much the tickets held grow."""
        return CHANGES[self.kind][1] * self.quantity

    @property
    def taken(self) -> int:
        """By how much the tickets grow that are sold or held, and so not for sale."""
        return self.sold + self.held

    def audit_line(self) -> dict[str, object]:
        """The public part: no buyer, no fingerprint, and no field that this kind does not have."""
        return {name: value for name in AUDITED if (value := getattr(self, name))}


class Order(msgspec.Struct, frozen=True):
    """An order as it stands."""

    order: str
    quantity: int
    tickets: tuple[int, ...]
    status: Literal["sold", "cancelled"]
    buyer: str | None = None


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hold as it stands. ``sold``: it had expired and was sold again."""

    hold: str
    version: int
    """Of the record that made it: the order among holds that end at one instant."""
    quantity: int
    tickets: tuple[int, ...]
    expires_at: datetime
    status: Literal["held", "confirmed", "released", "expired", "sold"] = "held"
    buyer: str | None = None

    @property
    def ends(self) -> tuple[datetime, int]:
        """Holds expire in this order."""
        return self.expires_at, self.version


@dataclass(frozen=True, slots=True)
class Replay:
    """The key was committed before, with this record: the first answer is due again."""

    record: Record


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing was or will be written for this command. ``code`` is one of ``errors.TABLE``."""

    code: str
    version: int
    remaining: int
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Swept:
    """No hold is due any more, as of ``version``."""

    version: int
    remaining: int


Outcome = Record | Replay | Refusal | Swept


def order_after(record: Record, before: Order | None) -> Order:
    """The order that a record leaves."""
    buyer = record.buyer if before is None else before.buyer
    status: Literal["sold", "cancelled"] = "cancelled" if record.kind == "cancelled" else "sold"
    return Order(record.order, record.quantity, record.tickets, status, buyer)


def hold_after(record: Record, before: Held | None) -> Held | None:
    """The hold that a record leaves; None where the record that made it is not known."""
    if record.kind == "held" and record.expires_at is not None:
        return Held(record.hold, record.version, record.quantity, record.tickets, record.expires_at, buyer=record.buyer)
    if before is None or record.kind in ("held", "cancelled"):
        return before
    return msgspec.structs.replace(before, status=record.kind)


def due_at(holds: Iterable[Held], now: datetime | None) -> list[Held]:
    """The holds that are open and have ended by ``now``, in the order in which they expire; none without a ``now``."""
    if now is None:
        return []
    return sorted((each for each in holds if each.status == "held" and each.expires_at <= now), key=attrgetter("ends"))
