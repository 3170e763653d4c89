"""``/``: the office as a page for people. It works without JavaScript: every button is a form.

With JavaScript the counters, the curve and the time that a hold has left are kept up to date (``static/office.js``).

The page shows the last verdict that the lab left beside this office. It is read from the lab's files: the two share no
code, and only what the page shows is read.
"""

from __future__ import annotations

import io
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, current_app, g, redirect, render_template, request

from service.errors import TABLE, Problem
from service.http.answers import (
    checked_key,
    converted,
    current_request,
    event_id,
    fingerprint,
    is_admin_token,
    office,
    operation_key,
    whole_body,
)
from service.http.described import described
from service.http.holds import usual_seconds
from service.http.orders import NewOrder
from service.rules.records import Held, Order

blueprint = Blueprint("page", __name__)

EVENTS_SHOWN = 50
_MAX_VERDICT_BYTES = 4 << 20
_MAX_TRIED = 20
Do = Literal["buy", "hold", "confirm", "release", "cancel", "switch"]


class Button(msgspec.Struct):
    """A form of the page: the operation and its values."""

    do: Do
    event: str
    quantity: str | None = None
    buyer: str | None = None
    key: str | None = None
    order: str | None = None
    hold: str | None = None
    token: str | None = None
    guard: str | None = None


@blueprint.get("/")
@described("The office as a page", tag="page", answers={200: "text/html"}, stored=True)
def show() -> Response:
    """The event that ``?event=`` names, or the first one; also the ``?order=``, ``?hold=`` and ``?problem=`` of it."""
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
    order = hold = None
    if view is not None:
        order, problem = _order(view.event.event, request.args.get("order", "").strip(), problem)
        hold = _hold(view.event.event, request.args.get("hold", ""))
    return Response(
        render_template(
            "office.html",
            views=views,
            more=last is not None,
            view=view,
            most=min(view.event.max_per_order, 10) if view else 0,
            order=order,
            hold=hold,
            hold_for=_in_words(usual_seconds(view.event.event)) if view else "",
            now=datetime.now(UTC),
            problem=TABLE[problem].title if problem in TABLE else None,
            mode=mode,
            acting=office().acting_guard(view.event, mode) if view else mode.guard,
            store=office().store.name,
            switched="switched" in request.args,
            verdict=last_verdict(current_app.extensions["results"]),
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
    problems=("unknown_event", "bad_request", "invalid_value"),
    details="A refusal of the office is shown on the page that the answer leads to. A form that no button sends is "
    "refused at once.",
)
def act() -> Response:
    """Carry one button out and redirect to the page, so that a reload repeats nothing."""
    request.stream = io.BytesIO(whole_body(current_request()))  # Flask's own reading of a form takes what there is
    form = request.form
    event = event_id(form.get("event", ""))
    g.secrets = [value for name, value in form.items() if name not in ("event", "do", "guard", "quantity")]
    do, wanted = form.get("do", ""), _wanted()
    if do not in get_args(Do):
        raise Problem("bad_request")
    seen: dict[str, str] = {"event": event}
    try:
        seen |= _carry_out(event, do, wanted)
    except Problem as problem:
        seen["problem"] = g.outcome = problem.code
        # After a refusal the page still shows the buyer's order or hold.
        seen |= {name: form[name] for name in ("order", "hold") if form.get(name)}
    return redirect(f"/?{urlencode(seen)}", 303)  # type: ignore[return-value]


def _carry_out(event: str, do: str, wanted: NewOrder) -> dict[str, str]:
    """Carry it out; returns the query of the page that shows the result."""
    form = request.form
    if do == "switch":
        if not is_admin_token(form.get("token", "")):
            raise Problem("forbidden" if form.get("token") else "unauthorized")
        office().switch(form.get("guard", ""))
        return {"switched": ""}
    # The key came with the page: a double click, or the same form sent again, is one operation.
    key = checked_key(form["key"]) if "key" in form else operation_key()
    quantity, buyer = wanted.quantity, wanted.buyer
    asked = fingerprint([do, event, quantity] if buyer is None else [do, event, quantity, buyer])
    with office().request_scope(event):
        if do == "buy":
            done = office().buy(event, key=key, request=asked, quantity=quantity, buyer=buyer)
        elif do == "hold":
            seconds = usual_seconds(event)
            done = office().hold(event, key=key, request=asked, quantity=quantity, seconds=seconds, buyer=buyer)
        else:
            named = form.get("order" if do == "cancel" else "hold", "")
            mutate = {"confirm": office().confirm, "release": office().release, "cancel": office().cancel}[do]
            done = mutate(event, named, key=key, request=fingerprint([do, event, named]))
    if done.replayed:
        g.outcome = "replayed"
    return {"hold": done.record.hold} if do in ("hold", "release") else {"order": done.record.order}


def _wanted() -> NewOrder:
    """The number of tickets and the buyer, by the rules of every order. Errors: ``invalid_value``."""
    quantity = request.form.get("quantity", "1")
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 7 and int(quantity)):
        raise Problem("invalid_value")
    buyer = request.form.get("buyer", "").strip() or None
    return converted({"quantity": int(quantity), "buyer": buyer}, NewOrder)


def _in_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} seconds"
    return f"{seconds / 60:.3g} minutes"


def _order(event: str, order: str, problem: str | None) -> tuple[Order | None, str | None]:
    """The order that is asked for, and the problem to show: an earlier one, or why the order cannot be shown."""
    if not order:
        return None, problem
    try:
        return office().order(event, order)[0], problem
    except Problem as refusal:
        return None, problem or refusal.code


def _hold(event: str, hold: str) -> Held | None:
    try:
        return office().held(event, hold) if hold else None
    except Problem:
        return None


class _Witness(msgspec.Struct):
    violation: str
    text: str = ""


class _Check(msgspec.Struct):
    name: str
    verdict: str
    count: int = 0
    witness: list[_Witness] = []


class Verdict(msgspec.Struct):
    """The lab's verdict about one run."""

    verdict: str
    operations: int = 0
    checks: list[_Check] = []
    experiment: str = ""
    drawn_at: datetime | None = None

    @property
    def wrong(self) -> list[_Check]:
        """The checks that found something."""
        return [check for check in self.checks if check.verdict != "valid"]


def last_verdict(results: Path) -> Verdict | None:
    """The newest ``results/<experiment>/latest/verdict.json`` that can be read; None where there is none.

    Anything else of that name is ignored: a pipe, a link to nothing, a file without an end.
    """
    try:
        found = sorted(((_changed(path), path) for path in results.glob("*/latest/verdict.json")), reverse=True)
    except OSError:
        return None
    for changed, path in found[:_MAX_TRIED]:
        try:
            verdict = msgspec.json.decode(_content(path), type=Verdict)
            verdict.drawn_at = datetime.fromtimestamp(changed, UTC)
        except (OSError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            continue
        verdict.experiment = os.fsencode(path.parent.parent.name).decode(errors="replace")
        return verdict
    return None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _content(path: Path) -> bytes:
    """The content of a regular file; opened so that a pipe in its place does not block."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("it is not a regular file")
        content = file.read(_MAX_VERDICT_BYTES + 1)
    if len(content) > _MAX_VERDICT_BYTES:
        raise OSError("it is too large")
    return content
