"""``/events/<event>/orders``: buy, look at an order, cancel it."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, g

from service.http import schemas
from service.http.answers import (
    body,
    event_id,
    fingerprint,
    json_answer,
    mutation_answer,
    office,
    operation_key,
    order_answer,
)
from service.http.described import described

blueprint = Blueprint("orders", __name__)


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    """How many tickets, all or none. The buyer's name is kept and shown to nobody."""

    quantity: schemas.Quantity
    buyer: schemas.Name | None = None


@blueprint.post("/events/<event>/orders")
@described(
    "Buy tickets",
    tag="orders",
    body=NewOrder,
    answers={201: schemas.Sold},
    problems=("unknown_event", "sold_out", "doors_closed", "over_limit", "buyer_limit", "buyer_needed"),
    keyed=True,
    leads_to=("orders.look", "orders.cancel"),
)
def buy(event: str) -> Response:
    selling = office()
    with selling.request_scope(event_id(event)):
        wanted = body(NewOrder)
        done = selling.buy(
            event,
            key=operation_key(),
            request=fingerprint(wanted),
            quantity=wanted.quantity,
            buyer=wanted.buyer,
        )
        return order_answer(event, done)


@blueprint.get("/events/<event>/orders/<order>")
@described(
    "Look at an order",
    tag="orders",
    answers={200: schemas.OrderShown},
    problems=("unknown_event", "unknown_order"),
    stored=True,
)
def look(event: str, order: str) -> Response:
    with office().request_scope(event_id(event)):
        found, view, g.times = office().order(event, order)
        return json_answer(
            schemas.OrderShown(
                order=found.order,
                event=event,
                quantity=found.quantity,
                tickets=found.tickets,
                status=found.status,
                version=view.version,
            )
        )


@blueprint.delete("/events/<event>/orders/<order>")
@described(
    "Give the tickets of an order back",
    tag="orders",
    answers={200: schemas.Cancelled},
    problems=("unknown_event", "unknown_order", "not_open"),
    keyed=True,
)
def cancel(event: str, order: str) -> Response:
    with office().request_scope(event_id(event)):
        done = office().cancel(event, order, key=operation_key(), request=fingerprint())
        record = done.record
        content = schemas.Cancelled(record.order, "cancelled", record.remaining, record.version)
        return mutation_answer(done, content, 200)
