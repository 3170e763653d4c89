"""The addresses of an admin who manages a sale: its page, changes of the event, and the list of its orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Response, render_template

from service.errors import Problem
from service.http import schemas
from service.http.answers import (
    body,
    event_id,
    fingerprint,
    json_answer,
    mutation_answer,
    office,
    operation_key,
    query,
    require_admin,
)
from service.http.described import described
from service.http.events import MAX_PAGE, TicketLimit
from service.rules.records import AMENDABLE, Amend
from service.sales.order_list import Listed, as_csv, matching, orders_in

blueprint = Blueprint("managing", __name__)

EXAMPLE_HALLS = Path(__file__).resolve().parents[2] / "loadtests" / "examples" / "halls"

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be changed of an event; what is not named stays. ``null`` takes an instant away."""

    capacity: TicketLimit | msgspec.UnsetType = msgspec.UNSET
    opens_at: Instant | msgspec.UnsetType | None = msgspec.UNSET
    closes_at: Instant | msgspec.UnsetType | None = msgspec.UNSET


class OrderPage(msgspec.Struct):
    """Which orders to answer with."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE
    after: schemas.Version = 0
    """The version of the last order of the page before."""
    find: schemas.Name | msgspec.UnsetType = msgspec.UNSET
    """An order, a seat, a ticket number, or a part of a buyer's name."""
    status: Literal["sold", "cancelled"] | msgspec.UnsetType = msgspec.UNSET


@blueprint.get("/admin")
@described("The admin's page", tag="page", answers={200: "text/html"})
def page() -> Response:
    """It shows nothing by itself: what it asks of the office needs the token, which its user types."""
    halls = [(path.stem, path.read_text()) for path in sorted(EXAMPLE_HALLS.glob("*.json"))]
    return Response(render_template("admin.html", halls=halls), content_type="text/html; charset=utf-8")


@blueprint.get("/admin/check")
@described("Is this the admin's token?", tag="admin", answers={204: None}, admin=True)
def check() -> Response:
    require_admin()
    return Response(status=204)


@blueprint.patch("/events/<event>")
@described(
    "Change an event while it is sold",
    tag="events",
    body=Change,
    answers={200: schemas.Amended},
    problems=("unknown_event", "too_many_sold", "hall_fixed"),
    admin=True,
    keyed=True,
    details="Its capacity, and when it is sold: from `opens_at` on, until `closes_at`. To close the sale at once let "
    "`closes_at` be now; to open it again, null. It is decided under the guard and stands in the audit (`amended`).",
)
def change(event: str) -> Response:
    require_admin()
    wanted = body(Change)
    given = {name: value for name in AMENDABLE if (value := getattr(wanted, name)) is not msgspec.UNSET}
    if not given:
        raise Problem("invalid_value", f"Name what is to be changed: {', '.join(AMENDABLE)}.")
    command = Amend(operation_key(), fingerprint(wanted), tuple(given), **given)
    done = office().manage(event_id(event), command)
    about, record = done.record.about, done.record
    if about is None:
        raise RuntimeError("a change left no event")
    content = schemas.Amended(
        event, about.capacity, about.opens_at, about.closes_at, record.remaining, record.version
    )  # fmt: skip
    return mutation_answer(done, content, 200)


@blueprint.get("/events/<event>/orders")
@described(
    "List the orders of an event",
    tag="orders",
    query=OrderPage,
    answers={200: schemas.OrdersListed},
    problems=("unknown_event",),
    admin=True,
    stored=True,
    details="In the order in which they were sold, some at a time, with the buyers' names. The whole audit is read.",
)
def orders(event: str) -> Response:
    require_admin()
    page = query(OrderPage)
    rest = [each for each in _listed(event, page) if each.version > page.after]
    some = rest[: page.limit]
    following = some[-1].version if len(rest) > len(some) else None
    return json_answer(schemas.OrdersListed([schemas.OrderListed(*each) for each in some], following))


@blueprint.get("/events/<event>/orders.csv")
@described(
    "The orders of an event as a table",
    tag="orders",
    query=OrderPage,
    answers={200: "text/csv"},
    problems=("unknown_event",),
    admin=True,
    stored=True,
    details="All of them at once; with `status=sold` the list for the door.",
)
def table(event: str) -> Response:
    require_admin()
    listed = _listed(event, query(OrderPage))
    answer = Response(as_csv(listed), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{event_id(event)}.csv"'
    return answer


def _listed(event: str, page: OrderPage) -> Sequence[Listed]:
    _, records = office().audit(event_id(event))
    found = orders_in(records)
    if page.find is not msgspec.UNSET:
        found = list(matching(found, page.find))
    return [each for each in found if page.status in (msgspec.UNSET, each.status)]
