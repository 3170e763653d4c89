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
    query,
    refuse_unpaid,
    require_admin,
)
from service.http.described import OF_A_PURCHASE, OF_A_SELLER, described
from service.http.seats import tickets_of
from service.rules.records import Cancel
from service.sales.box_office import Done

blueprint = Blueprint("orders", __name__)


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    """How many tickets, or which seats, all or none. The buyer's name is kept and shown to nobody."""

    quantity: schemas.Quantity | msgspec.UnsetType = msgspec.UNSET
    buyer: schemas.Name | None = None
    seats: schemas.WantedSeats = msgspec.UNSET
    section: schemas.Name | msgspec.UnsetType = msgspec.UNSET
    together: bool | msgspec.UnsetType = msgspec.UNSET


class Why(msgspec.Struct):
    """Why an admin cancels an order."""

    reason: schemas.Name | msgspec.UnsetType = msgspec.UNSET


@blueprint.post("/events/<event>/orders")
@described(
    "Buy tickets",
    tag="orders",
    body=NewOrder,
    answers={201: schemas.Sold},
    problems=(*OF_A_PURCHASE, *OF_A_SELLER),
    keyed=True,
    leads_to=("orders.look", "orders.cancel"),
)
def buy(event: str) -> Response:
    selling = office()
    with selling.request_scope(event_id(event)):
        refuse_unpaid(event)
        wanted = body(NewOrder)
        quantity, wish = tickets_of(wanted)
        done = selling.buy(
            event, key=operation_key(), request=fingerprint(wanted), quantity=quantity, buyer=wanted.buyer, wish=wish
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
                seats=found.seats or msgspec.UNSET,
            )
        )


@blueprint.delete("/events/<event>/orders/<order>")
@described(
    "Give the tickets of an order back",
    tag="orders",
    query=Why,
    answers={200: schemas.Cancelled},
    problems=("unknown_event", "unknown_order", "not_open", "unauthorized", "forbidden"),
    keyed=True,
    details="With a `reason`, which needs the admin's token, it is an admin who does it; the audit has the reason.",
)
def cancel(event: str, order: str) -> Response:
    reason = query(Why).reason
    if reason is not msgspec.UNSET:
        require_admin()
        return _cancelled(office().manage(event_id(event), Cancel(operation_key(), fingerprint(reason), order, reason)))
    with office().request_scope(event_id(event)):
        return _cancelled(office().cancel(event, order, key=operation_key(), request=fingerprint()))


def _cancelled(done: Done) -> Response:
    record = done.record
    content = schemas.Cancelled(record.order, "cancelled", record.remaining, record.version)
    return mutation_answer(done, content, 200)
