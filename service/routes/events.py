"""``/events``: make, list, look at, audit and remove events."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from flask import Blueprint, Response, g

from service.inventory import Event, Record
from service.routes.answers import body, event_content, event_id, json_answer, office, require_admin
from service.settings import EVENT_ID, MAX_CAPACITY

blueprint = Blueprint("events", __name__)

LINES_AT_ONCE = 1000

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CAPACITY)]


class NewEvent(msgspec.Struct, forbid_unknown_fields=True):
    event: Annotated[str, msgspec.Meta(pattern=rf"^{EVENT_ID.pattern}\Z")]
    capacity: Count
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    opens_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    max_per_order: Count = 10
    max_per_buyer: Count | None = None
    lab: bool = False


@blueprint.post("/events")
def create() -> Response:
    require_admin()
    new = body(NewEvent)
    event = Event(
        new.event,
        new.name or new.event,
        new.capacity,
        new.opens_at,
        new.max_per_order,
        new.max_per_buyer,
        new.lab,
    )
    answer = json_answer(event_content(office().create(event)), 201)
    answer.headers["Location"] = f"/events/{event.event}"
    return answer


@blueprint.get("/events")
def all_events() -> Response:
    return json_answer({"events": [event_content(view) for view in office().events()]})


@blueprint.get("/events/<event>")
def one_event(event: str) -> Response:
    with office().request_scope(event_id(event)):
        view, g.times = office().look(event)
        return json_answer(event_content(view))


@blueprint.delete("/events/<event>")
def delete(event: str) -> Response:
    require_admin()
    office().delete(event_id(event))
    return Response(status=204)


@blueprint.get("/events/<event>/audit")
def audit(event: str) -> Response:
    about, records = office().audit(event_id(event))
    head = {"event": about.event, "capacity": about.capacity, "versions": len(records)}

    def lines() -> Iterator[bytes]:
        yield msgspec.json.encode(head) + b"\n"
        for some in batched(records, LINES_AT_ONCE):
            yield b"".join(msgspec.json.encode(record.audit_line()) + b"\n" for record in some)

    return Response(lines(), content_type="application/x-ndjson")


def batched(records: Collection[Record], size: int) -> Iterator[list[Record]]:
    """The records in lists of ``size``, as they are read."""
    source = iter(records)
    while some := list(itertools.islice(source, size)):
        yield some
