"""How much of an event may be held at once, how long, and by whom: decided where everything is, in every store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.rules.inventory import Confirm, Event, Held, Hold, Record, Sell, View, decide_all
from service.stores import STORES

START = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture(params=list(STORES))
def till(request: pytest.FixtureRequest, make_client: Callable[..., FlaskClient], admin: dict[str, str]) -> Any:
    client = make_client(store=request.param)

    def make(event: str = "gala", **limits: Any) -> Any:
        answer = client.post("/events", json={"event": event, "capacity": 20, **limits}, headers=admin)
        assert answer.status_code == 201, answer.data
        assert {name: answer.json[name] for name in limits} == limits
        return client

    return make


def ask(client: FlaskClient, what: str, quantity: int = 1, *, key: str = "", **more: Any) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/events/gala/{what}", json={"quantity": quantity, **more}, headers=headers)


def refused(answer: TestResponse) -> tuple[int, str, int]:
    assert answer.json["definite"] is True, answer.data
    return answer.status_code, answer.json["code"], answer.json["version"]


def test_no_more_is_held_at_once_than_the_event_allows_and_all_of_it_is_sold(till: Any) -> None:
    client = till(max_held=5)
    first = ask(client, "holds", 3).json["hold"]
    second = ask(client, "holds", 2, key="again").json["hold"]
    assert refused(ask(client, "holds", 1)) == (409, "too_many_held", 2)
    assert ask(client, "holds", 2, key="again").json["hold"] == second  # what was granted stays so
    assert client.post(f"/events/gala/holds/{first}/confirm").status_code == 201
    assert ask(client, "holds", 3).status_code == 201
    assert client.delete(f"/events/gala/holds/{second}").status_code == 200
    assert refused(ask(client, "holds", 3)) == (409, "too_many_held", 5)
    assert ask(client, "orders", 10).status_code == 201
    assert ask(client, "holds", 2).status_code == 201
    assert refused(ask(client, "holds", 3)) == (409, "sold_out", 7)
    assert ask(client, "orders", 2).status_code == 201


def test_what_has_expired_is_held_no_more_and_is_still_sold_late(till: Any) -> None:
    client = till(max_held=5)
    office = client.application.extensions["office"]
    office.clock = lambda: START
    early = ask(client, "holds", 5, seconds=10).json["hold"]
    assert refused(ask(client, "holds", 1)) == (409, "too_many_held", 1)
    office.clock = lambda: START + timedelta(seconds=10)
    assert ask(client, "holds", 5).status_code == 201
    late = client.post(f"/events/gala/holds/{early}/confirm")
    assert (late.status_code, late.json["tickets"]) == (201, [11, 12, 13, 14, 15])


def test_a_hold_is_no_longer_than_the_event_allows_also_where_nobody_said_how_long(till: Any) -> None:
    client = till(max_hold_s=45.5)
    client.application.extensions["office"].clock = lambda: START
    assert refused(ask(client, "holds", seconds=45.6)) == (422, "hold_too_long", 0)
    assert ask(client, "holds", seconds=45.5).status_code == 201
    answers = [ask(client, "holds", key="k", **how) for how in ({}, {}, {"seconds": 45.5})]
    assert [answer.json["expires_at"] for answer in answers] == ["2026-11-23T08:00:45.500000Z"] * 3
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", "true"]


def test_an_event_with_a_limit_per_buyer_has_nothing_for_somebody_without_a_name(till: Any) -> None:
    client = till(max_per_buyer=2)
    for what in ("orders", "holds"):
        assert refused(ask(client, what)) == (422, "buyer_needed", 0)
        assert ask(client, what, buyer="ann").status_code == 201 or what == "holds"
        sold = client.get("/events/gala").json["sold"]
        client.delete(f"/events/gala?even_if_sold={sold}", headers={"Authorization": "Bearer test-token"})
        till(max_per_buyer=2)
    cart = {"items": [{"event": "gala", "quantity": 1}, {"event": "show", "quantity": 1}]}
    answer = client.post("/carts", json=cart)
    if answer.status_code != 501:
        assert refused(answer) == (422, "buyer_needed", 0)
        assert answer.json["event"] == "gala"
        assert client.post("/carts", json=cart | {"buyer": "bob"}).status_code == 201


def test_an_event_without_limits_has_none_and_looks_as_it_did(till: Any) -> None:
    client = till()
    event = client.get("/events/gala").json
    assert [event[name] for name in ("max_held", "max_hold_s", "max_per_buyer")] == [None, None, None]
    assert ask(client, "holds", 10, seconds=3600).status_code == ask(client, "holds", 10).status_code == 201


def test_a_hold_of_somebody_without_a_name_from_before_is_paid_for_in_time_and_late() -> None:
    """A limit per buyer takes a name since; a payment for what was held without one is neither lost nor stuck."""
    about = Event("show", "Show", 9, max_per_buyer=2)
    view = View(about, 2, held=4, next_ticket=5)
    end = START + timedelta(seconds=60)
    view.holds = {
        "open": Held("open", 1, 2, (1, 2), end),
        "over": Held("over", 2, 2, (3, 4), START, "expired"),
    }
    outcomes = decide_all(view, [Confirm("a", "r", "open", "o1"), Confirm("b", "r", "over", "o2")], START)
    assert [outcome.kind for outcome in outcomes if isinstance(outcome, Record)] == ["confirmed", "sold"]


def test_a_limit_is_of_all_holds_together_and_binds_no_sale() -> None:
    view = View(Event("show", "Show", 9, max_held=3, max_hold_s=9))
    asked = [
        Hold("a", "r", "h1", 2, 9),
        Hold("b", "r", "h2", 2, 9),
        Sell("c", "r", "o1", 7),
        Hold("d", "r", "h3", 1, 10),
    ]
    told = [getattr(outcome, "code", "ok") for outcome in decide_all(view, asked, START)]
    assert told == ["ok", "too_many_held", "ok", "hold_too_long"]


def test_the_page_asks_for_a_name_where_one_is_needed_and_says_how_long_it_sets_aside(till: Any) -> None:
    client = till(max_per_buyer=2, max_hold_s=90)
    page = client.get("/?event=gala").text
    assert 'name="buyer"' in page
    assert "Set aside for 90 seconds" in page
    assert 'name="buyer"' not in client.get("/?event=show").text
    assert "Set aside for 5 minutes" in client.get("/?event=show").text

    def button(**fields: str) -> str:
        return str(client.post("/", data={"event": "gala", **fields}).headers.get("Location"))

    assert "problem=buyer_needed" in button(do="buy", quantity="1")
    assert "order=o" in button(do="buy", quantity="1", buyer="Ann")
    assert "problem=buyer_limit" in button(do="hold", quantity="2", buyer="Ann")
    assert "hold=h" in button(do="hold", quantity="1", buyer="Ann")
