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
    """A show with a number of tickets. Only an ``Amend`` changes it, and of the following only what that names."""

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
    hall: str = ""
    """The name of its hall, whose seats are sold; empty where it sells numbers alone."""
    closes_at: datetime | None = None
    """From then on nothing is sold and nothing held. What is held already can be paid."""
    born: str = ""
    """With a hall: tells this event from others that had its name."""


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """Which seats of a hall are wanted. By default the best that are free anywhere in it."""

    seats: tuple[str, ...] = ()
    """The ids of the wanted seats, each once; or else:"""
    section: str = ""
    """Where the best are wanted; empty for the whole hall."""
    together: bool = False
    """Only side by side."""


ANY = Wish()


class Sell(msgspec.Struct, frozen=True):
    """Sell ``quantity`` tickets to one order, all or none. Where seats are named, ``quantity`` is their number."""

    key: str
    request: str
    """Fingerprint of the whole request; a key that comes again with another one is refused."""
    order: str
    quantity: int
    buyer: str | None = None
    cart: str = ""
    """The cart that it is part of; empty for a single purchase."""
    wish: Wish = ANY


class Cancel(msgspec.Struct, frozen=True):
    """Give the tickets of an order back."""

    key: str
    request: str
    order: str
    reason: str = ""
    """Why, where an admin does it."""
    operation: str = ""
    """Made for this request: an earlier one under the same key has another."""


class Hold(msgspec.Struct, frozen=True):
    """Set ``quantity`` tickets aside for ``seconds``, all or none."""

    key: str
    request: str
    hold: str
    quantity: int
    seconds: float
    buyer: str | None = None
    wish: Wish = ANY


class Confirm(msgspec.Struct, frozen=True):
    """Turn a hold into an order. One that has expired is sold again, under new numbers, if the places are there: of a
    hall, the same seats."""

    key: str
    request: str
    hold: str
    order: str


class Release(msgspec.Struct, frozen=True):
    """Give the tickets of a hold back."""

    key: str
    request: str
    hold: str
    operation: str = ""


class Amend(msgspec.Struct, frozen=True):
    """Change how many tickets an event without a hall has, or when they are sold."""

    key: str
    request: str
    fields: tuple[str, ...]
    """Which of the following are changed."""
    capacity: int = 0
    opens_at: datetime | None = None
    closes_at: datetime | None = None


class Sweep(msgspec.Struct, frozen=True):
    """Expire the holds that are due, and nothing else."""

    key: str = ""
    request: str = ""


Command = Sell | Cancel | Hold | Confirm | Release | Amend | Sweep

Kind = Literal["sold", "cancelled", "held", "confirmed", "released", "expired", "amended"]

CHANGES: dict[Kind, tuple[int, int, bool]] = {
    "sold": (1, 0, True),
    "cancelled": (-1, 0, False),
    "held": (0, 1, True),
    "confirmed": (1, -1, False),
    "released": (0, -1, False),
    "expired": (0, -1, False),
    "amended": (0, 0, False),
}
"""For each kind: the change of the tickets sold and of those held for each ticket, and whether the numbers are new.

A later record of the same tickets repeats their numbers."""


AMENDABLE = ("capacity", "opens_at", "closes_at")
"""The fields of an event that an ``Amend`` may change; the audit has all of them in each such record."""
AUDITED = (
    "version", "kind", "key", "hold", "order", "cart", "quantity", "tickets", "seats",
    "expires_at", "reason", "capacity_before",
)  # fmt: skip
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
    seats: tuple[str, ...] = ()
    """The ids of the seats, as many as tickets; empty where the event has no hall."""
    about: Event | None = None
    """The event as it is from here on; in ``amended`` alone."""
    reason: str = ""
    """Why an admin cancelled the order."""
    capacity_before: int = 0
    """Of the event; in ``amended`` alone."""
    operation: str = ""
    """That of the cancellation or the release; not part of the public audit."""

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
        line = {name: value for name in AUDITED if (value := getattr(self, name))}
        if self.about is not None:
            line |= {name: getattr(self.about, name) for name in AMENDABLE}
        return line


class Order(msgspec.Struct, frozen=True):
    """An order as it stands."""

    order: str
    quantity: int
    tickets: tuple[int, ...]
    status: Literal["sold", "cancelled"]
    buyer: str | None = None
    seats: tuple[str, ...] = ()


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
    seats: tuple[str, ...] = ()

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
    seats: tuple[str, ...] = ()
    """The wanted seats that are taken, or that there are not."""


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
    return Order(record.order, record.quantity, record.tickets, status, buyer, record.seats)


def hold_after(record: Record, before: Held | None) -> Held | None:
    """The hold that a record leaves; None where the record that made it is not known."""
    if record.kind == "held" and record.expires_at is not None:
        return Held(
            record.hold, record.version, record.quantity, record.tickets, record.expires_at, buyer=record.buyer,
            seats=record.seats,
        )  # fmt: skip
    if before is None or record.kind in ("held", "cancelled"):
        return before
    return msgspec.structs.replace(before, status=record.kind)


def due_at(holds: Iterable[Held], now: datetime | None) -> list[Held]:
    """The holds that are open and have ended by ``now``, in the order in which they expire; none without a ``now``."""
    if now is None:
        return []
    return sorted((each for each in holds if each.status == "held" and each.expires_at <= now), key=attrgetter("ends"))
