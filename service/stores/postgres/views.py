"""What a view asks of the engine for some commands, and how what it answers becomes the view."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.errors import Problem
from service.rules.inventory import Command, Event, View
from service.stores.postgres.records import holds_in, records_in
from service.stores.reading import show, wanted_by

_events = msgspec.json.Decoder(Event)
_bought = msgspec.json.Decoder(dict[str, int])


def asked_for(event: str, commands: Sequence[Command], now: datetime | None, order: str | None) -> list[object]:
    """The parameters of ``VIEW``."""
    return [event, *wanted_by(commands, order), now]


def fill(view: View, found: Sequence[bytes | None]) -> None:
    """Put into the view what its commands need to see: the last columns of ``VIEW``, JSON or None for nothing."""
    keys, orders, holds, due, bought = found
    show(view, records_in(keys), records_in(orders), records_in(holds))
    view.due = holds_in(due)
    if bought is not None:
        view.bought.update(_bought.decode(bought))


def about_of(text: str | bytes) -> Event:
    """The event as it was made. Errors: ``corrupt_document``."""
    try:
        return _events.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        detail = f"An event in PostgreSQL cannot be read ({error}). Nothing was written. Was it changed by hand?"
        raise Problem("corrupt_document", detail) from None
