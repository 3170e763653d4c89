"""``/``: the office as a page for people. It works without JavaScript: every button is a form.

There are two pages. The *shop* has what a buyer needs, and nothing for operators. The *lab* has also the lock and its
switch, the curve of the sale, and the last verdict that the lab left beside this office. That is read from the lab's
files: the two share no code, and only what the page shows is read.

With JavaScript the counters and the time that a hold has left are kept up to date, and the page says when the office
does not answer (``static/office.js``); ``static/shop.js`` and ``static/lab.js`` have what one of the pages alone has.
"""

from __future__ import annotations

import io
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast, get_args
from urllib.parse import urlencode

import msgspec
import segno
from flask import Blueprint, Response, current_app, g, redirect, render_template, request
from werkzeug.datastructures import MultiDict

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
    refuse_unpaid,
    whole_body,
)
from service.http.described import described
from service.http.holds import usual_seconds
from service.http.orders import NewOrder
from service.http.payments import order_of, provider
from service.http.seats import tickets_of
from service.rules.inventory import View
from service.rules.records import ANY, Held, Order

blueprint = Blueprint("page", __name__)

EVENTS_SHOWN = 50
_MAX_VERDICT_BYTES = 4 << 20
_MAX_TRIED = 20
_MOST_NAMED = 50
"""Seats that the address of the page may name."""
_PUBLIC = frozenset({"event", "do", "guard", "quantity", "seat", "section", "together"})
"""The fields of a form that the log may have."""
Do = Literal["buy", "hold", "confirm", "release", "cancel", "ask", "switch"]
"""``ask`` changes nothing: it leads to the question that comes before tickets are given back."""
Doors = Literal["open", "early", "ended", "sold-out"]
_EMAIL = re.compile(r"[^<>\s@]+@[^<>\s@]+")
_AFTER_THE_NAME = re.compile(rf"\s*<{_EMAIL.pattern}>\Z")
_MISTYPED = {"email": "This is no e-mail address: it needs one @ with something on both sides, and no spaces or < >"}
"""What the page says about a field that a buyer mistyped; beside the problems of the office."""


class Button(msgspec.Struct):
    """A form of the page: the operation and its values."""

    do: Do
    event: str
    quantity: str | None = None
    seat: str | None = None
    """One that is wanted; it may stand there several times."""
    section: str | None = None
    together: str | None = None
    buyer: str | None = None
    email: str | None = None
    """Kept with the buyer's name, as ``Name <e-mail>``."""
    key: str | None = None
    order: str | None = None
    hold: str | None = None
    token: str | None = None
    guard: str | None = None


@blueprint.get("/")
@described("The office as a page", tag="page", answers={200: "text/html"}, stored=True)
def show() -> Response:
    """The event that ``?event=`` names, or the first one; also the ``?order=``, ``?hold=`` and ``?problem=`` of it."""
    return _page(request.args)


def _page(asked: MultiDict[str, str], key: str = "") -> Response:
    """The page of what is ``asked`` for. With a ``key``, nobody knows the outcome of what was sent under it, and the
    forms of the page have the same one."""
    views, last = office().events(EVENTS_SHOWN)
    wanted = asked.get("event")
    problem = asked.get("problem")
    chosen = next((view for view in views if view.event.event == wanted), None)
    if wanted and chosen is None:
        try:
            chosen = office().look(event_id(wanted))[0]
        except Problem as refusal:
            problem = refusal.code
    shop: bool = current_app.extensions["shop"]
    mode, now = office().control.mode(), office().clock()
    view = chosen or (views[0] if views else None)
    order = hold = None
    paid_through = provider() if view and not view.event.lab else None
    pay_at = ""
    sections: list[str] = []
    if view is not None:
        if view.event.hall:
            sections = [section.name for section in office().hall(view.event.event).plan.sections]
        order, problem = _order(view.event.event, asked.get("order", "").strip(), problem)
        hold = _hold(view.event.event, asked.get("hold", ""))
        if hold and paid_through:
            if hold.status == "held" and hold.expires_at > now:
                pay_at = paid_through.page(view.event.event, hold)
            elif hold.status in ("confirmed", "sold") and order is None:
                order, _ = _order(view.event.event, order_of(hold.hold), None)
    return Response(
        render_template(
            "office.html",
            views=views,
            more=last is not None,
            view=view,
            shop=shop,
            asking="ask" in asked,
            charged=paid_through is not None,
            pay_at=pay_at,
            returned="returned" in asked,
            doors=doors_of(view, now) if view else "",
            name=_AFTER_THE_NAME.sub("", order.buyer or "") if order else "",
            code=_drawn(order.order) if shop and order and order.status == "sold" else "",
            most=min(view.event.max_per_order, 10) if view else 0,
            order=order,
            hold=hold,
            sections=sections,
            mine=[seat for each in (hold, order) if each is not None for seat in each.seats],
            taken=asked.getlist("taken")[:_MOST_NAMED],
            wanted=asked.getlist("seat")[:_MOST_NAMED],
            hold_for=_in_words(usual_seconds(view.event.event)) if view else "",
            now=now,
            utc=UTC,
            problem=TABLE[problem].title if problem in TABLE else _MISTYPED.get(problem or ""),
            mode=mode,
            acting=office().transactions.acting_guard(view.event, mode) if view else mode.guard,
            store=office().store.name,
            switched="switched" in asked,
            verdict=last_verdict(current_app.extensions["results"]),
            key=key or operation_key(),
            again=bool(key),
        ),
        content_type="text/html; charset=utf-8",
    )


@blueprint.post("/")
@described(
    "A button of the page",
    tag="page",
    form=Button,
    answers={200: "text/html", 303: None},
    problems=("unknown_event", "bad_request", "invalid_value"),
    details="A refusal of the office is shown on the page that the answer leads to. Where the outcome is not known the "
    "answer is that page itself, with the same key in its forms. A form that no button sends is refused at once.",
)
def act() -> Response:
    """Carry one button out and redirect to the page, so that a reload repeats nothing."""
    request.stream = io.BytesIO(whole_body(current_request()))  # Flask's own reading of a form takes what there is
    form = request.form
    event = event_id(form.get("event", ""))
    g.secrets = [value for name, value in form.items() if name not in _PUBLIC]
    do, wanted = form.get("do", ""), _wanted()
    if do not in get_args(Do):
        raise Problem("bad_request")
    seen: dict[str, Any] = {"event": event}
    if form.get("email", "").strip() and not _EMAIL.fullmatch(form["email"].strip()):
        g.outcome = "invalid_value"
        return redirect(f"/?{urlencode(seen | {'problem': 'email'})}", 303)  # type: ignore[return-value]
    try:
        seen |= _carry_out(event, do, wanted)
    except Problem as problem:
        seen["problem"] = g.outcome = problem.code
        # After a refusal the page still shows the buyer's order or hold.
        seen |= {name: form[name] for name in ("order", "hold") if form.get(name)}
        if problem.code == "seat_taken":
            taken = cast("tuple[str, ...]", problem.extra["seats"])
            seen |= {"taken": taken, "seat": [each for each in form.getlist("seat") if each not in taken]}
        if not problem.kind.definite and form.get("key"):
            # No redirect: who could name the key in an address could name it for a stranger, and be told their order.
            return _page(MultiDict(seen), form["key"])
    return redirect(f"/?{urlencode(seen, doseq=True)}", 303)  # type: ignore[return-value]


def _carry_out(event: str, do: str, wanted: NewOrder) -> dict[str, str]:
    """Carry it out; returns the query of the page that shows the result."""
    form = request.form
    if do == "ask":
        return {name: form[name] for name in ("order", "hold") if form.get(name)} | {"ask": ""}
    if do == "switch":
        if not is_admin_token(form.get("token", "")):
            raise Problem("forbidden" if form.get("token") else "unauthorized")
        office().switch(form.get("guard", ""))
        return {"switched": ""}
    # The key came with the page: a double click, or the same form sent again, is one operation.
    key = checked_key(form["key"]) if "key" in form else operation_key()
    (quantity, wish), buyer = tickets_of(wanted), wanted.buyer
    asked = fingerprint([do, event, quantity, *([] if buyer is None else [buyer]), *([] if wish == ANY else [wish])])
    with office().request_scope(event):
        if do in ("buy", "confirm"):
            refuse_unpaid(event)
        if do == "buy":
            done = office().buy(event, key=key, request=asked, quantity=quantity, buyer=buyer, wish=wish)
        elif do == "hold":
            seconds = usual_seconds(event)
            done = office().hold(
                event, key=key, request=asked, quantity=quantity, seconds=seconds, buyer=buyer, wish=wish
            )  # fmt: skip
        else:
            named = form.get("order" if do == "cancel" else "hold", "")
            mutate = {"confirm": office().confirm, "release": office().release, "cancel": office().cancel}[do]
            done = mutate(event, named, key=key, request=fingerprint([do, event, named]))
    if done.replayed:
        g.outcome = "replayed"
    return {"hold": done.record.hold} if do in ("hold", "release") else {"order": done.record.order}


def _wanted() -> NewOrder:
    """The tickets or the seats, and the buyer, by the rules of every order. Errors: ``invalid_value``."""
    form = request.form
    name, email = form.get("buyer", "").strip(), form.get("email", "").strip()
    given: dict[str, Any] = {"buyer": (f"{name} <{email}>".strip() if email else name) or None}
    if form.getlist("seat"):
        given["seats"] = form.getlist("seat")
        return converted(given, NewOrder)
    quantity = form.get("quantity", "1")
    if not (quantity.isascii() and quantity.isdigit() and len(quantity) <= 7 and int(quantity)):
        raise Problem("invalid_value")
    given["quantity"] = int(quantity)
    if "section" in form:  # of an event with a hall
        given |= {"together": "together" in form} | ({"section": form["section"]} if form["section"] else {})
    return converted(given, NewOrder)


def doors_of(view: View, now: datetime) -> Doors:
    """Whether tickets are for sale at this instant; else why they are not."""
    event = view.event
    if event.closes_at is not None and event.closes_at <= now:
        return "ended"
    if event.opens_at is not None and event.opens_at > now:
        return "early"
    return "open" if view.remaining > 0 else "sold-out"


def _drawn(order: str) -> str:
    """The order's id as a QR code: an SVG without a size of its own."""
    return segno.make_qr(order, error="m").svg_inline(omitsize=True)


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


class ShownVerdict(msgspec.Struct):
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


def last_verdict(results: Path) -> ShownVerdict | None:
    """The newest ``results/<experiment>/latest/verdict.json`` that can be read; None where there is none.

    Anything else of that name is ignored: a pipe, a link to nothing, a file without an end.
    """
    try:
        found = sorted(((_changed(path), path) for path in results.glob("*/latest/verdict.json")), reverse=True)
    except OSError:
        return None
    for changed, path in found[:_MAX_TRIED]:
        try:
            verdict = msgspec.json.decode(_content(path), type=ShownVerdict)
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
