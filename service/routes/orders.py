"""``/events/<event>/orders``: buy, look at an order, cancel it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response, g

from service.routes.answers import (
    body,
    done_answer,
    event_id,
    fingerprint,
    json_answer,
    office,
    operation_key,
)

blueprint = Blueprint("orders", __name__)


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    buyer: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


@blueprint.post("/events/<event>/orders")
def buy(event: str) -> Response:
    with office().request_scope(event_id(event)):
        wanted = body(NewOrder)
        done = office().buy(
            event,
            key=operation_key(),
            request=fingerprint(wanted),
            quantity=wanted.quantity,
            buyer=wanted.buyer,
        )
        record = done.record
        content: dict[str, object] = {
            "order": record.order,
            "event": event,
            "quantity": record.quantity,
            "tickets": record.tickets,
        }
        answer = done_answer(done, content, 201)
        answer.headers["Location"] = f"/events/{event}/orders/{record.order}"
        return answer


@blueprint.get("/events/<event>/orders/<order>")
def look(event: str, order: str) -> Response:
    with office().request_scope(event_id(event)):
        found, view, g.times = office().order(event, order)
        content = {
            "order": found.order,
            "event": event,
            "quantity": found.quantity,
            "tickets": found.tickets,
            "status": found.status,
            "version": view.version,
        }
        return json_answer(content)


@blueprint.delete("/events/<event>/orders/<order>")
def cancel(event: str, order: str) -> Response:
    with office().request_scope(event_id(event)):
        done = office().cancel(event, order, key=operation_key(), request=fingerprint())
        return done_answer(done, {"order": done.record.order, "status": "cancelled"}, 200)
