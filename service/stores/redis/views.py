"""The question that a view asks the engine, how the answer becomes the view, and the records of an event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import Command, Event, Record, View, order_after
from service.stores.columns import microseconds
from service.stores.reading import Records, Wanted
from service.stores.redis.engine import Engine
from service.stores.redis.records import held_of, record_of
from service.stores.seat_reading import seats_of, seats_wanted

PAGE = 2_000
_events = msgspec.json.Decoder(Event)


class Source(NamedTuple):
    """Where a view came from: which event of that name, and how many records it had."""

    born: str
    records: int


Ranges = Sequence[tuple[int, int]]
"""The first and the last of seats whose states are wanted."""


def ranges_of(hall: Hall, commands: Sequence[Command]) -> Ranges:
    """The seats that the commands need to see, apart from those of the holds that they name."""
    wanted = seats_wanted(hall, commands)
    return [*((first, end - 1) for first, end in wanted.spans), *((seat, seat) for seat in wanted.named)]


def asked_for(wanted: Wanted, now: datetime | None, hall: Hall | None, ranges: Ranges) -> list[object]:
    """What ``scripts.VIEW`` is asked: what is wanted, and until when holds have ended, or nothing for none."""
    return [*wanted, "" if now is None else str(microseconds(now)), *([] if hall is None else [hall.name, ranges])]


def about_in(said: Sequence[bytes]) -> Event:
    """The event that an answer is about. Errors: ``corrupt_document``."""
    try:
        return _events.decode(said[6])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("corrupt_document", f"What the engine has of the event cannot be read ({error}).") from None


def view_of(asked: Wanted, said: Sequence[bytes], about: Event, hall: Hall | None, ranges: Ranges) -> View:
    """The view that was asked for, with the states of seats where the event has this hall. Errors:
    ``corrupt_document``."""
    born, count, version, sold, held, next_ticket, _, *rest = said
    view = View(about, int(version), int(sold), int(held), int(next_ticket))
    view.source = Source(born.decode(), int(count))
    found = iter(rest)
    for key, line in zip(asked.keys, _take(found, asked.keys), strict=True):
        if line:
            view.keys[key] = record_of(line, hall)
    for line in filter(None, _take(found, asked.orders)):
        record = record_of(line, hall)
        view.orders[record.order] = order_after(record, None)
    bought: dict[str, int] = {}
    for told in filter(None, _take(found, asked.holds)):
        stands, has, line = told.split(b" ", 2)
        hold = held_of(line, hall, stands)
        view.holds[hold.hold] = hold
        if hold.buyer is not None:
            bought[hold.buyer] = int(has)
    bought |= {buyer: int(has or 0) for buyer, has in zip(asked.buyers, _take(found, asked.buyers), strict=True)}
    if view.event.max_per_buyer is not None:
        view.bought = bought
    if hall is not None:
        view.hall, view.seats = hall, bytearray(hall.size)
        _show(view, next(found), [*ranges, *((seat, seat) for seat in seats_of(hall, view.holds.values()))])
    view.due = [held_of(line, hall) for line in found]
    return view


def _show(view: View, states: bytes, ranges: Ranges) -> None:
    at = 0
    for first, last in ranges:
        view.seats[first : last + 1] = states[at : (at := at + last + 1 - first)]


def records_in(engine: Engine, stream: str, count: int, hall: Hall | None) -> Records:
    """The first ``count`` records of an event."""

    def read() -> Iterator[Record]:
        for first in range(1, count + 1, PAGE):
            last = min(count, first + PAGE - 1)
            found = engine.ask("XRANGE", stream, f"{first}-0", f"{last}-0")
            if len(found) != last - first + 1:
                raise Problem("unknown_event", "It was removed while its audit was read.")
            for _, (_, line) in found:
                yield record_of(line, hall)

    return Records(count, read)


def _take(found: Iterator[bytes], asked: Sequence[object]) -> list[bytes]:
    """One answer for each question."""
    return [next(found) for _ in asked]
