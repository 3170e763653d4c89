"""``/carts``: tickets of several events in one purchase, all of them or none."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response, current_app

from service.errors import Problem
from service.http import schemas
from service.http.answers import body, fingerprint, mutation_answer, operation_key, refuse_unpaid, sold
from service.http.described import OF_A_PURCHASE, OF_A_SELLER, described
from service.http.events import EventId
from service.http.seats import tickets_of
from service.sales.carts import Carts

blueprint = Blueprint("carts", __name__)

MOST_EVENTS = 10


class CartItem(msgspec.Struct, forbid_unknown_fields=True):
    """The tickets, or the seats, that are wanted of one event."""

    event: EventId
    quantity: schemas.Quantity | msgspec.UnsetType = msgspec.UNSET
    seats: schemas.WantedSeats = msgspec.UNSET
    section: schemas.Name | msgspec.UnsetType = msgspec.UNSET
    together: bool | msgspec.UnsetType = msgspec.UNSET


class NewCart(msgspec.Struct, forbid_unknown_fields=True):
    """The tickets that are wanted together, each event once."""

    items: Annotated[list[CartItem], msgspec.Meta(min_length=1, max_length=MOST_EVENTS)]
    buyer: schemas.Name | None = None


@blueprint.post("/carts")
@described(
    "Buy tickets of several events, all of them or none",
    tag="orders",
    body=NewCart,
    answers={201: schemas.CartSold},
    problems=(*OF_A_PURCHASE, *OF_A_SELLER, "not_supported", "half_cart"),
    keyed=True,
    details="Either there is an order in each event, or nothing is written in any; then `event` names the event that "
    "refused. The key belongs to the whole cart. Each order is cancelled separately. Every store but `memory`.",
)  # fmt: skip
def buy() -> Response:
    wanted = body(NewCart)
    items = {item.event: tickets_of(item) for item in wanted.items}
    if len(items) < len(wanted.items):
        names = [item.event for item in wanted.items]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem("invalid_value", f"The event {twice} stands in the cart twice.")
    refuse_unpaid(*items)
    carts: Carts = current_app.extensions["carts"]
    done = carts.buy(items, key=operation_key(), request=fingerprint(wanted), buyer=wanted.buyer)
    content = schemas.CartSold(done.cart, [sold(event, record) for event, record in done.records.items()])
    return mutation_answer(done, content, 201)
