"""The door opens at an instant: a microsecond before it nobody is let in, at it everybody; the wait is told exactly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.rules.inventory import Event, Refusal, View, decide
from service.rules.records import Hold, Sell

OPENS_AT = datetime(2030, 5, 17, 20, 0, 0, 250_000, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
WISHES = [Sell("k", "r", "o1", 1), Hold("k", "r", "h1", 1, 60.0, None)]


@pytest.mark.parametrize("wish", WISHES, ids=["buy", "hold"])
@pytest.mark.parametrize(
    ("early", "wait_s"),
    [
        (MICROSECOND, 1),
        (timedelta(seconds=1) - MICROSECOND, 1),
        (timedelta(seconds=1), 1),
        (timedelta(seconds=1) + MICROSECOND, 2),
        (timedelta(seconds=90), 90),
        (timedelta(days=400), 400 * 86_400),
    ],
)
def test_who_waits_as_long_as_he_is_told_finds_the_door_open_and_a_second_less_would_not_do(
    wish: Any, early: timedelta, wait_s: int
) -> None:
    view, now = View(Event("show", "Show", 5, opens_at=OPENS_AT)), OPENS_AT - early
    assert decide(view, wish, now) == Refusal("doors_closed", 0, 5, retry_after_s=wait_s)
    assert not isinstance(decide(view, wish, now + timedelta(seconds=wait_s)), Refusal)
    assert isinstance(decide(view, wish, now + timedelta(seconds=wait_s - 1)), Refusal)


@pytest.mark.parametrize("wish", WISHES, ids=["buy", "hold"])
def test_at_the_instant_the_door_is_open(wish: Any) -> None:
    view = View(Event("show", "Show", 5, opens_at=OPENS_AT))
    assert isinstance(decide(view, wish, OPENS_AT - MICROSECOND), Refusal)
    assert not isinstance(decide(view, wish, OPENS_AT), Refusal)


def buy(client: FlaskClient) -> TestResponse:
    return client.post("/events/gala/orders", json={"quantity": 1}, headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize("guard", ["immediate", "optimistic", "atomic"])
def test_it_is_the_same_in_every_language_of_a_guard(
    guard: str, make_client: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    client = make_client(store="sqlite", guard=guard)
    made = {"event": "gala", "capacity": 5, "lab": True, "opens_at": OPENS_AT.isoformat()}
    assert client.post("/events", json=made, headers=admin).status_code == 201
    office = client.application.extensions["office"]
    office.clock = lambda: OPENS_AT - MICROSECOND
    refused = buy(client)
    assert (refused.status_code, refused.json["code"], refused.json["definite"]) == (409, "doors_closed", True)
    assert refused.headers["Retry-After"] == "1"
    office.clock = lambda: OPENS_AT
    assert buy(client).status_code == 201
