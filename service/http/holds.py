"""``/events/<event>/holds``: set tickets aside, turn a hold into an order, give it back.

The buyer pays between the first call and the second, and no guard is held meanwhile.
"""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response

from service.http import schemas
from service.http.answers import (
    body,
    event_id,
    fingerprint,
    mutation_answer,
    office,
    operation_key,
    order_answer,
    refuse_unpaid,
)
from service.http.described import OF_A_PURCHASE, OF_A_SELLER, described
from service.http.events import HoldSeconds
from service.http.orders import NewOrder
from service.http.seats import tickets_of
from service.sales.box_office import Done

blueprint = Blueprint("holds", __name__)

DEFAULT_HOLD_S = 300.0


class NewHold(NewOrder):
    """How many tickets to set aside, all or none, and for how long."""

    seconds: HoldSeconds | msgspec.UnsetType = msgspec.UNSET
    """The default is five minutes, or as long as the event allows if that is less."""


@blueprint.post("/events/<event>/holds")
@described(
    "Set tickets aside",
    tag="holds",
    body=NewHold,
    answers={201: schemas.HoldShown},
    problems=(*OF_A_PURCHASE, "hold_too_long", "too_many_held"),
    keyed=True,
    leads_to=("holds.confirm", "holds.release"),
)  # fmt: skip
def hold(event: str) -> Response:
    with office().request_scope(event_id(event)):
        wanted = body(NewHold)
        quantity, wish = tickets_of(wanted)
        seconds = usual_seconds(event) if wanted.seconds is msgspec.UNSET else wanted.seconds
        done = office().hold(
            event,
            key=operation_key(),
            request=fingerprint(msgspec.structs.replace(wanted, seconds=seconds)),
            quantity=quantity,
            seconds=seconds,
            buyer=wanted.buyer,
            wish=wish,
        )
        record = done.record
        content = schemas.HoldShown(
            hold=record.hold,
            event=event,
            quantity=record.quantity,
            tickets=record.tickets,
            expires_at=record.expires_at,  # type: ignore[arg-type]  # the record of a hold always has it
            remaining=record.remaining,
            version=record.version,
            seats=record.seats or msgspec.UNSET,
        )
        return mutation_answer(done, content, 201)


def usual_seconds(event: str) -> float:
    """How long tickets are set aside if the buyer does not say it. Errors: ``unknown_event``."""
    most = office().about(event).max_hold_s
    return DEFAULT_HOLD_S if most is None else min(DEFAULT_HOLD_S, most)


@blueprint.post("/events/<event>/holds/<hold>/confirm")
@described(
    "Turn a hold into an order",
    tag="holds",
    answers={201: schemas.Sold},
    problems=("unknown_event", "unknown_hold", "not_open", "hold_expired", "buyer_limit", *OF_A_SELLER),
    keyed=True,
    details="A hold that has expired is sold again, under new ticket numbers, if the places are still there.",
    leads_to=("orders.look", "orders.cancel"),
)
def confirm(event: str, hold: str) -> Response:
    with office().request_scope(event_id(event)):
        refuse_unpaid(event)
        done = office().confirm(event, hold, key=operation_key(), request=fingerprint())
        return order_answer(event, done)


@blueprint.delete("/events/<event>/holds/<hold>")
@described(
    "Give the tickets of a hold back",
    tag="holds",
    answers={200: schemas.Released},
    problems=("unknown_event", "unknown_hold", "not_open"),
    keyed=True,
)
def release(event: str, hold: str) -> Response:
    with office().request_scope(event_id(event)):
        return released_answer(office().release(event, hold, key=operation_key(), request=fingerprint()))


def released_answer(done: Done) -> Response:
    """The answer to a release."""
    record = done.record
    content = schemas.Released(record.hold, "released", record.remaining, record.version)
    return mutation_answer(done, content, 200)
