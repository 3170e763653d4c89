"""What a view asks of the engine for some commands, and how what it answers becomes the view."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from service.errors import Problem
from service.rules.inventory import Cancel, Command, Confirm, Event, Hold, Release, Sell, View, hold_after, order_after
from service.stores.postgres.records import holds_in, records_in

_events = msgspec.json.Decoder(Event)
_bought = msgspec.json.Decoder(dict[str, int])


def asked_for(event: str, commands: Sequence[Command], now: datetime | None, order: str | None) -> dict[str, Any]:
    """The parameters of ``VIEW``."""
    orders = [command.order for command in commands if isinstance(command, Cancel)]
    return {
        "event": event,
        "now": now,
        "keys": [command.key for command in commands],
        "orders": orders if order is None else [*orders, order],
        "holds": [command.hold for command in commands if isinstance(command, Confirm | Release)],
        "buyers": [each.buyer for each in commands if isinstance(each, Sell | Hold) and each.buyer is not None],
    }


def fill(view: View, found: Sequence[str | None]) -> None:
    """Put into the view what its commands need to see: the last columns of ``VIEW``, JSON or None for nothing."""
    keys, orders, holds, due, bought = found
    for record in records_in(keys):
        view.keys[record.key] = record
    for record in records_in(orders):
        view.orders[record.order] = order_after(record, view.orders.get(record.order))
    for record in records_in(holds):
        hold = hold_after(record, view.holds.get(record.hold))
        if hold is not None:
            view.holds[record.hold] = hold
    view.due = holds_in(due)
    if bought is not None:
        view.bought.update(_bought.decode(bought))


def about_of(text: str) -> Event:
    """The event as it was made. Errors: ``corrupt_document``."""
    try:
        return _events.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        detail = f"An event in PostgreSQL cannot be read ({error}). Nothing was written. Was it changed by hand?"
        raise Problem("corrupt_document", detail) from None
