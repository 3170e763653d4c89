"""``/``: the office as a page for people. Works without JavaScript: every button is a form.

With JavaScript the counters follow the sale by themselves (``static/office.js``); nothing else depends on it.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, g, redirect, render_template, request

from service.errors import TABLE, Problem
from service.inventory import Order
from service.routes.answers import checked_key, event_id, fingerprint, is_admin_token, office, operation_key
from service.routes.described import described

blueprint = Blueprint("page", __name__)

EVENTS_SHOWN = 50


class Button(msgspec.Struct):
    """A form of the page."""

    do: Literal["buy", "cancel", "switch"]
    event: str
    quantity: str | None = None
    key: str | None = None
    order: str | None = None
    token: str | None = None
    guard: str | None = None


@blueprint.get("/")
@described("The office as a page", tag="page", answers={200: "text/html"}, stored=True)
def show() -> Response:
    """The event that ``?event=`` names, else the first; with ``?order=`` that order, with ``?problem=`` its words."""
    views, last = office().events(EVENTS_SHOWN)
    wanted = request.args.get("event")
    problem = request.args.get("problem")
    chosen = next((view for view in views if view.event.event == wanted), None)
    if wanted and chosen is None:
        try:
            chosen = office().look(event_id(wanted))[0]
        except Problem as refusal:
            problem = refusal.code
    mode = office().control.mode()
    view = chosen or (views[0] if views else None)
    return Response(
        render_template(
            "office.html",
            views=views,
            view=view,
            most=min(view.event.max_per_order, 10) if view else 0,
            order=_order(view.event.event, request.args.get("order")) if view else None,
            problem=TABLE[problem].title if problem in TABLE else None,
            mode=mode,
            acting=office().acting_guard(view.event, mode) if view else mode.guard,
            safe_guard=office().store.safe_guard,
            store=office().store.name,
            switched="switched" in request.args,
            key=operation_key(),
        ),
        content_type="text/html; charset=utf-8",
    )


@blueprint.post("/")
@described(
    "A button of the page",
    tag="page",
    form=Button,
    answers={303: None},
    problems=("unknown_event",),
    details="Whatever was refused is told on the page that the answer leads to.",
)
def act() -> Response:
    """One button: buy, cancel or switch; then back to the page, so that a reload repeats nothing."""
    form = request.form
    event = event_id(form.get("event", ""))
    seen: dict[str, str] = {"event": event}
    try:
        seen |= _carry_out(event, form.get("do", ""))
    except Problem as problem:
        seen["problem"] = g.outcome = problem.code
    return redirect(f"/?{urlencode(seen)}", 303)  # type: ignore[return-value]


def _carry_out(event: str, do: str) -> dict[str, str]:
    form = request.form
    if do == "buy":
        quantity = form.get("quantity", "1")
        if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 7 and int(quantity)):
            raise Problem("invalid_value")
        # The key came with the page: a double click, or the same form sent again, buys once.
        key = checked_key(form["key"]) if "key" in form else operation_key()
        content = ["buy", event, quantity]
        with office().request_scope(event):
            done = office().buy(event, key=key, request=fingerprint(content), quantity=int(quantity), buyer=None)
        return {"order": done.record.order}
    if do == "cancel":
        order = form.get("order", "")
        with office().request_scope(event):
            office().cancel(event, order, key=operation_key(), request=fingerprint(["cancel", event, order]))
        return {"order": order}
    if do == "switch":
        if not is_admin_token(form.get("token", "")):
            raise Problem("forbidden" if form.get("token") else "unauthorized")
        office().switch(form.get("guard", ""))
        return {"switched": ""}
    raise Problem("bad_request")


def _order(event: str, order: str | None) -> Order | None:
    if not order:
        return None
    try:
        return office().order(event, order)[0]
    except Problem:
        return None
