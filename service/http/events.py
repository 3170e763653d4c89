"""``/events``: make, list, look at, audit and remove events."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated

import msgspec
from flask import Blueprint, Response, current_app, g, request

from service.errors import Problem
from service.http import schemas
from service.http.answers import (
    body,
    encode,
    event_id,
    event_shown,
    json_answer,
    office,
    query,
    require_admin,
    tagged_answer,
)
from service.http.described import described
from service.http.seats import NewHall, hall_of
from service.rules.inventory import Event
from service.sales.audits import audit_lines
from service.settings import EVENT_ID, MAX_CAPACITY

blueprint = Blueprint("events", __name__)

MAX_PAGE = 100

TicketLimit = Annotated[int, msgspec.Meta(ge=1, le=MAX_CAPACITY)]
HoldSeconds = Annotated[float, msgspec.Meta(ge=0.001, le=3600.0)]
EventId = Annotated[str, msgspec.Meta(pattern=rf"^{EVENT_ID.pattern}\Z")]


class NewEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An event to be made."""

    event: EventId
    capacity: TicketLimit | msgspec.UnsetType = msgspec.UNSET
    """How many tickets; or else ``hall``, whose seats are sold."""
    name: schemas.Name | None = None
    opens_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    max_per_order: TicketLimit = 10
    max_per_buyer: TicketLimit | None = None
    closes_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    lab: bool = False
    max_held: TicketLimit | None = None
    max_hold_s: HoldSeconds | None = None
    hall: NewHall | msgspec.UnsetType = msgspec.UNSET


class Removal(msgspec.Struct):
    """What is said with the removal of an event."""

    # Not None where it is not given: msgspec would read "null" in an address as None.
    even_if_sold: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    """The tickets that are sold. With another number than theirs, nothing is removed."""


class Page(msgspec.Struct):
    """The part of the list of events to answer with."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE
    cursor: EventId | None = None
    """The last event of the page before."""


@blueprint.post("/events")
@described(
    "Make an event",
    tag="events",
    body=NewEvent,
    answers={201: schemas.EventShown},
    problems=("event_exists", "switching", "storage_full"),
    admin=True,
    stored=True,
    leads_to=(
        "events.one_event", "events.audit", "seats.hall", "seats.states", "orders.buy", "holds.hold", "events.delete",
        "managing.change", "managing.orders",
    ),
)  # fmt: skip
def create() -> Response:
    require_admin()
    new = body(NewEvent)
    if (new.capacity is msgspec.UNSET) == (new.hall is msgspec.UNSET):
        raise Problem("invalid_value", "An event has either a capacity or a hall.")
    about = msgspec.structs.asdict(new) | {"name": new.name or new.event, "hall": ""}
    hall = None
    if isinstance(new.hall, NewHall):
        hall = hall_of(new.hall)
        about |= {"capacity": hall.size, "hall": hall.name, "born": secrets.token_hex(8)}
    event = Event(**about)
    answer = json_answer(event_shown(office().create(event, hall)), 201)
    answer.headers["Location"] = f"/events/{event.event}"
    return answer


@blueprint.get("/events")
@described(
    "List events by id",
    tag="events",
    query=Page,
    answers={200: schemas.EventsShown, 304: None},
    stored=True,
    tagged=True,
    details="Some at a time: `next`, and the Link header, lead to the next ones; only those shown are read.",
)
def all_events() -> Response:
    page = query(Page)
    views, last = office().events(page.limit, page.cursor)
    following = f"/events?limit={page.limit}&cursor={last}" if last else None
    answer = tagged_answer(encode(schemas.EventsShown([event_shown(view) for view in views], following)))
    if following:
        answer.headers["Link"] = f'<{following}>; rel="next"'
    return answer


@blueprint.get("/events/<event>")
@described(
    "Look at an event",
    tag="events",
    answers={200: schemas.EventShown, 304: None},
    problems=("unknown_event",),
    stored=True,
    tagged=True,
)
def one_event(event: str) -> Response:
    with office().request_scope(event_id(event)):
        view, g.times = office().look(event)
        return tagged_answer(encode(event_shown(view)))


@blueprint.delete("/events/<event>")
@described(
    "Remove an event",
    tag="events",
    query=Removal,
    answers={204: None},
    problems=("unknown_event", "event_sold", "contention", "switch_timeout", "storage_full"),
    admin=True,
    stored=True,
    details="An event that was not made for the lab is removed with tickets sold or held only if `even_if_sold` is the "
    "number of tickets sold. Its audit is kept in `removed/` of the data directory.",
)
def delete(event: str) -> Response:
    require_admin()
    sold = query(Removal).even_if_sold
    office().delete(event_id(event), None if sold is msgspec.UNSET else sold)
    return Response(status=204)


@blueprint.get("/events/<event>/audit")
@described(
    "Read every committed mutation in order",
    tag="events",
    answers={200: "application/x-ndjson"},
    problems=("unknown_event", "unauthorized", "forbidden"),
    stored=True,
    details="JSON Lines: a header with the event, its capacity and the number of versions; then a line a mutation. No "
    "buyer's name is in it, but the ids of orders are, and with an id anybody may cancel the order. So it needs the "
    "admin's token. Events made for the lab show it to everybody, and without the token each key and id is replaced by "
    "an alias (`~` and 16 digits) with which nothing can be done; the header has `aliases` then.",
)
def audit(event: str) -> Response:
    of_everybody = office().about(event_id(event)).lab and "Authorization" not in request.headers
    if not of_everybody:
        require_admin()
    about, records = office().audit(event)
    secret = current_app.extensions["admin_token"] if of_everybody else None
    return Response(
        audit_lines(about, records, secret, office().store.halls.of(about)), content_type="application/x-ndjson"
    )
