"""The question that a view asks the engine, and how the answer becomes the view."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.errors import Problem
from service.rules.inventory import Command, Event, View
from service.stores.postgres.records import holds_in, records_in
from service.stores.postgres.seats import show_seats
from service.stores.reading import show, wanted_by

_events = msgspec.json.Decoder(Event)
_bought = msgspec.json.Decoder(dict[str, int])


def asked_for(event: str, commands: Sequence[Command], now: datetime | None, order: str | None) -> list[object]:
    """The parameters of ``VIEW``."""
    return [event, *wanted_by(commands, order), now]


def fill(view: View, found: Sequence[bytes | None]) -> None:
    """Put into the view what its commands need to see: the last columns of ``VIEW``, JSON or None for nothing, and
    behind them the states of seats, if they were asked for."""
    keys, orders, holds, due, bought, *seats = found
    show(view, *(records_in(each, view.hall) for each in (keys, orders, holds)))
    view.due = holds_in(due, view.hall)
    if bought is not None:
        view.bought.update(_bought.decode(bought))
    for states in seats:
        show_seats(view, states)


def about_of(text: str | bytes) -> Event:
    """The event as it was made. Errors: ``corrupt_document``."""
    try:
        return _events.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        detail = f"An event in PostgreSQL cannot be read ({error}). Nothing was written. Was it changed by hand?"
        raise Problem("corrupt_document", detail) from None
