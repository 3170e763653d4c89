"""The types of all answers. Routes answer with them, and the description of the interface is made of them.

Each is exact: an answer has these fields and no others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Count = Annotated[int, Meta(ge=0)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
"""The tickets of one request. How many an order may have is the event's rule."""
Tickets = Annotated[
    tuple[Annotated[int, Meta(ge=1)], ...], Meta(description="Numbers, given out in order, never twice.")
]
Version = Annotated[int, Meta(ge=0, description="The number of committed mutations of the event.")]
# PostgreSQL cannot store a NUL, so no store has to: an office answers the same with every store. The decoder refuses
# the other character that not every store has, half a surrogate pair, as not being JSON.
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


PlaceName = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^\w[\w-]*\Z")]
"""The name of a section or of a row: letters and digits of any language, ``_`` and ``-``."""
Seat = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*$", examples=["stalls-C-12"])]
WantedSeats = Annotated[list[Seat], Meta(min_length=1, max_length=1000)] | UnsetType
Seats = (
    Annotated[tuple[str, ...], Meta(description="The ids of the seats; absent where the event has no hall.")]
    | UnsetType
)


class Shown(Struct, forbid_unknown_fields=True):
    """The base of all answers but problems."""


class EventShown(Shown):
    """An event with its counters."""

    event: str
    name: str
    capacity: Annotated[int, Meta(ge=1)]
    sold: Count
    held: Count
    remaining: int
    """Below zero only if an unsafe guard oversold."""
    version: Version
    guard: Annotated[str, Meta(description="The guard that this event obeys.")]
    epoch: Annotated[int, Meta(ge=1, description="How often the guard was switched.")]
    lab: bool
    opens_at: datetime | None
    closes_at: datetime | None
    max_per_order: Annotated[int, Meta(ge=1)]
    max_per_buyer: Annotated[int, Meta(ge=1, description="Then every buyer needs a name.")] | None
    max_held: Annotated[int, Meta(ge=1, description="Most tickets that all holds set aside at once.")] | None
    max_hold_s: Annotated[float, Meta(gt=0, description="The longest hold, in seconds.")] | None
    hall: Annotated[str, Meta(description="Names its hall, whose seats are sold. Two alike have the same name.")] | None


class EventsShown(Shown):
    """Some events, by id."""

    events: list[EventShown]
    next: Annotated[str, Meta(description="The address of the next page; the Link header has it too.")] | None


class Sold(Shown):
    """An order that was just bought. Its id is the buyer's secret: anybody who knows it may cancel it."""

    order: str
    event: str
    quantity: Annotated[int, Meta(ge=1)]
    tickets: Tickets
    remaining: int
    version: Version
    seats: Seats = UNSET


class CartSold(Shown):
    """A cart that was just bought: an order in each event, in the order asked."""

    cart: str
    orders: list[Sold]


class OrderShown(Shown):
    """An order as it stands."""

    order: str
    event: str
    quantity: Annotated[int, Meta(ge=1)]
    tickets: Tickets
    status: Literal["sold", "cancelled"]
    version: Version
    seats: Seats = UNSET


class Cancelled(Shown):
    """An order whose tickets were given back."""

    order: str
    status: Literal["cancelled"]
    remaining: int
    version: Version


class HoldShown(Shown):
    """Tickets set aside. The id is the buyer's secret: anybody who knows it may confirm the hold or give it back."""

    hold: str
    event: str
    quantity: Annotated[int, Meta(ge=1)]
    tickets: Tickets
    expires_at: datetime
    remaining: int
    version: Version
    seats: Seats = UNSET


class Released(Shown):
    """A hold whose tickets were given back."""

    hold: str
    status: Literal["released"]
    remaining: int
    version: Version


class RowShown(Shown):
    name: str
    seats: Annotated[int, Meta(ge=1, description="They have the numbers from 1 on.")]


class SectionShown(Shown):
    name: str
    rows: list[RowShown]


class HallShown(Shown):
    """The seats of a hall, in their order."""

    sections: list[SectionShown]


class MapShown(Shown):
    """The states of the seats at one version."""

    event: str
    born: Annotated[str, Meta(description="Tells this event from others that had its name.")]
    version: Version
    capacity: Annotated[int, Meta(ge=1)]
    free: Count
    held: Count
    sold: Count
    hall: str
    states: Annotated[str, Meta(description="All of them, in base64.")] | UnsetType = UNSET
    changes: list[tuple[int, int]] | UnsetType = UNSET


class Amended(Shown):
    """An event that was changed."""

    event: str
    capacity: Annotated[int, Meta(ge=1)]
    opens_at: datetime | None
    closes_at: datetime | None
    remaining: int
    version: Version


class OrderListed(Shown):
    """An order, for the admin."""

    order: str
    status: Literal["sold", "cancelled"]
    buyer: str | None
    quantity: Annotated[int, Meta(ge=1)]
    tickets: Tickets
    seats: tuple[str, ...]
    reason: Annotated[str, Meta(description="Why it was cancelled, where an admin said so.")]
    version: Annotated[int, Meta(ge=1, description="Of the sale.")]


class OrdersListed(Shown):
    """Some orders."""

    orders: list[OrderListed]
    next: Annotated[int, Meta(description="What `after` leads to the following ones.")] | None


class GuardShown(Shown):
    """The guard of all processes."""

    guard: str
    epoch: Annotated[int, Meta(ge=1)]
    guards: list[str]


class Alive(Shown):
    status: Literal["alive"]


class Ready(Shown):
    status: Literal["ready"]
    store: str
    guard: str


class ProblemShown(Struct):
    """A problem (RFC 9457). If it is definite, nothing was or will be written; if not, repeat with the same key."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    code: str
    definite: bool
    detail: str | None = None
    version: int | None = None
    remaining: int | None = None
    event: Annotated[str, Meta(description="The event of a cart that could not, or that is not removed.")] | None = None
    sold: Annotated[int, Meta(description="The tickets sold of an event that is not removed.")] | None = None
    held: Annotated[int, Meta(description="The tickets held of an event that is not removed.")] | None = None
    seats: Annotated[list[str], Meta(description="The wanted seats that are taken, or do not exist.")] | None = None
    give_back: Annotated[bool, Meta(description="The money of this payment has to be given back.")] | None = None
    deadlock: Annotated[list[str], Meta(description="Events of carts that waited for each other.")] | None = None
