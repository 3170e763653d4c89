"""What a view asks of the engine, how its answer becomes one, and the records of an event, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from service.errors import Problem
from service.rules.inventory import Event, Record, View, order_after
from service.stores.reading import Records, Wanted
from service.stores.redis.engine import Engine
from service.stores.redis.records import held_of, microseconds, record_of

PAGE = 2_000
_events = msgspec.json.Decoder(Event)


class Source(NamedTuple):
    """Where a view came from: which event of that name, and how many records it had."""

    born: str
    records: int


def asked_for(wanted: Wanted, now: datetime | None) -> list[object]:
    """What ``redis_scripts.VIEW`` is asked: what is wanted, and until when holds have ended, or nothing for none."""
    return [*wanted, "" if now is None else str(microseconds(now))]


def view_of(asked: Wanted, said: Sequence[bytes]) -> View:
    """The view that was asked for. Errors: ``corrupt_document``."""
    born, count, version, sold, held, next_ticket, about, *rest = said
    view = View(_about(about), int(version), int(sold), int(held), int(next_ticket))
    view.source = Source(born.decode(), int(count))
    found = iter(rest)
    view.keys = {key: record_of(line) for key, line in zip(asked.keys, _take(found, asked.keys), strict=True) if line}
    for record in map(record_of, filter(None, _take(found, asked.orders))):
        view.orders[record.order] = order_after(record, None)
    bought: dict[str, int] = {}
    for told in filter(None, _take(found, asked.holds)):
        stands, has, line = told.split(b" ", 2)
        hold = held_of(line, stands)
        view.holds[hold.hold] = hold
        if hold.buyer is not None:
            bought[hold.buyer] = int(has)
    bought |= {buyer: int(has or 0) for buyer, has in zip(asked.buyers, _take(found, asked.buyers), strict=True)}
    if view.event.max_per_buyer is not None:
        view.bought = bought
    view.due = [held_of(line) for line in found]
    return view


def records_in(engine: Engine, stream: str, count: int) -> Records:
    """The first ``count`` records of an event."""

    def read() -> Iterator[Record]:
        for first in range(1, count + 1, PAGE):
            last = min(count, first + PAGE - 1)
            found = engine.ask("XRANGE", stream, f"{first}-0", f"{last}-0")
            if len(found) != last - first + 1:
                raise Problem("unknown_event", "It was removed while its audit was read.")
            for _, (_, line) in found:
                yield record_of(line)

    return Records(count, read)


def _about(content: bytes) -> Event:
    try:
        return _events.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("corrupt_document", f"What the engine has of the event cannot be read ({error}).") from None


def _take(found: Iterator[bytes], asked: Sequence[object]) -> list[bytes]:
    """One answer for each question."""
    return [next(found) for _ in asked]
