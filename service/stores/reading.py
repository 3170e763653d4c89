"""The parts of reading that stores share: what a view is asked for, how records fill it, and an event's records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from service.errors import Problem
from service.rules.inventory import Cancel, Command, Confirm, Event, Hold, Record, Release, Sell, View

S = TypeVar("S")


class Records(Collection[Record]):
    """The records of an event up to a place: how many is known, and they are read when they are asked for."""

    def __init__(self, count: int, read: Callable[[], Iterator[Record]]) -> None:
        self._count = count
        self._read = read

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return self._read()

    def __contains__(self, record: object) -> bool:
        return any(each == record for each in self)


class Wanted(NamedTuple):
    """What deciding some commands needs to see; each name once."""

    keys: list[str]
    orders: list[str]
    holds: list[str]
    buyers: list[str]
    """Those who want to buy. Whoever has one of the ``holds`` belongs to them: a late confirmation is a sale."""


def wanted_by(commands: Sequence[Command], order: str | None = None) -> Wanted:
    """What ``Store.view`` is asked for: by commands, and the ``order`` that a reader asks for."""
    orders = {command.order for command in commands if isinstance(command, Cancel)}
    return Wanted(
        keys=list({command.key for command in commands if command.key}),
        orders=list(orders if order is None else orders | {order}),
        holds=list({command.hold for command in commands if isinstance(command, Confirm | Release)}),
        buyers=list({each.buyer for each in commands if isinstance(each, Sell | Hold) and each.buyer is not None}),
    )


def show(view: View, keys: Iterable[Record], orders: Iterable[Record], holds: Iterable[Record]) -> None:
    """Let a view see the records of the keys, orders and holds that were asked for, each as they were written."""
    for record in keys:
        view.keys[record.key] = record
    for record in orders:
        view.show_order(record)
    for record in holds:
        view.show_hold(record)


def source_of(view: View, kind: type[S]) -> S:
    """What the store that made a view put into it. Raises ``TypeError`` where another one made it."""
    if not isinstance(view.source, kind):
        raise TypeError("a store takes only views that it made")
    return view.source


def with_hall(view: View) -> View:
    """The view, of an event with a hall. Errors: ``no_hall``."""
    if view.hall is None:
        raise Problem("no_hall", version=view.version, remaining=view.remaining)
    return view


def damaged(where: str, reason: object) -> Problem:
    """The problem of a file of the data directory that cannot be read."""
    return Problem(
        "corrupt_document",
        f"{where} in the data directory cannot be read ({reason}). Nothing was written to it. Stop the service, keep a "
        "copy, and put a good copy back.",
    )


class More(msgspec.Struct, frozen=True, omit_defaults=True):
    """What few records have, in one column of an engine's table."""

    about: Event | None = None
    reason: str = ""
    capacity_before: int = 0
    operation: str = ""


_NOTHING = More()
_more = msgspec.json.Decoder(More)


def more_of(record: Record) -> str | None:
    """As it is stored; None where there is nothing."""
    more = More(record.about, record.reason, record.capacity_before, record.operation)
    return None if more == _NOTHING else msgspec.json.encode(more).decode()


def more_in(stored: str | None) -> More:
    """Errors: ``msgspec.DecodeError``."""
    return _NOTHING if stored is None else _more.decode(stored)
