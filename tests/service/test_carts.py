"""Carts over HTTP: an order in each event or nothing in any, the key of the whole cart, and what a cart cannot be."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typed import as_admin
from werkzeug.test import TestResponse

from service.guards import fitting
from service.rules.carts import CartRefused, Granted, decide_cart
from service.rules.inventory import Event, Record, View
from service.rules.records import Sell
from service.sales.box_office import BoxOffice
from service.stores import STORES

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
PAIRS = [
    ("json", "file"), ("json", "thread"), ("json", "none"), ("journal", "file"), ("journal", "thread"),
    ("journal", "optimistic"), ("journal", "none"), ("sqlite", "immediate"), ("sqlite", "optimistic"),
    ("sqlite", "atomic"), ("sqlite", "none"), ("postgres", "row"), ("postgres", "table"), ("postgres", "advisory"),
    ("postgres", "serializable"), ("postgres", "optimistic"), ("postgres", "atomic"), ("postgres", "none"),
    ("redis", "optimistic"), ("redis", "atomic"), ("redis", "lease"), ("redis", "fenced"), ("redis", "none"),
]  # fmt: skip


class Shop:
    """An office with the events a, b and c of five tickets, whose clock stands still."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.office: BoxOffice = client.application.extensions["office"]
        self.now = START
        self.office.clock = lambda: self.now
        for name in "abc":
            self.office.create(Event(name, name, 5, lab=True))

    def cart(self, *items: tuple[str, int], key: str = "", **more: Any) -> TestResponse:
        content = {"items": [{"event": event, "quantity": quantity} for event, quantity in items], **more}
        return self.client.post("/carts", json=content, headers={"Idempotency-Key": key} if key else {})

    def audit(self, event: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/events/{event}/audit", headers=as_admin(self.client))
        return [json.loads(line) for line in answer.data.splitlines()[1:]]

    def left(self) -> list[int]:
        return [self.client.get(f"/events/{event}").json["remaining"] for event in "abc"]

    def versions(self) -> list[int]:
        return [self.client.get(f"/events/{event}").json["version"] for event in "abc"]


@pytest.fixture(params=PAIRS, ids="-".join)
def shop(request: pytest.FixtureRequest, make_client: Callable[..., FlaskClient]) -> Shop:
    store, guard = request.param
    return Shop(make_client(store=store, guard=guard, first_event=None))


@pytest.fixture
def json_shop(make_client: Callable[..., FlaskClient]) -> Shop:
    return Shop(make_client(first_event=None))


def refused(answer: TestResponse) -> tuple[int, str, str | None]:
    assert answer.content_type == "application/problem+json"
    assert answer.json["definite"] is True
    return answer.status_code, answer.json["code"], answer.json.get("event")


def test_the_pairs_tried_here_are_all_that_there_are(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    there = set()
    for store in STORES:
        opened = (
            make_client(store=store, first_event=None, data=tmp_path / store).application.extensions["office"].store
        )
        if opened.spans_events:
            there |= {(store, guard) for guard in fitting(opened)}
    thread = {(store, "thread") for store in ("sqlite", "postgres", "redis")}
    assert there - thread - {("json", "leaky"), ("journal", "leaky")} == set(PAIRS)


def test_a_cart_is_an_order_in_each_of_its_events(shop: Shop) -> None:
    shop.cart(("b", 1))
    answer = shop.cart(("b", 2), ("a", 3), buyer="ann")
    assert answer.status_code == 201
    cart, orders = answer.json["cart"], answer.json["orders"]
    assert cart.startswith("c")
    assert [{**each, "order": ""} for each in orders] == [
        {"order": "", "event": "b", "quantity": 2, "tickets": [2, 3], "remaining": 2, "version": 2},
        {"order": "", "event": "a", "quantity": 3, "tickets": [1, 2, 3], "remaining": 2, "version": 1},
    ]
    assert shop.left() == [2, 2, 5]
    for each in orders:
        record = shop.audit(each["event"])[-1]
        assert (record["kind"], record["cart"], record["order"]) == ("sold", cart, each["order"])
        look = shop.client.get(f"/events/{each['event']}/orders/{each['order']}").json
        assert (look["status"], look["tickets"]) == ("sold", each["tickets"])


def test_a_purchase_by_itself_names_no_cart(shop: Shop) -> None:
    shop.client.post("/events/a/orders", json={"quantity": 1})
    assert "cart" not in shop.audit("a")[0]


def test_one_event_that_cannot_refuses_the_cart_by_name_and_nothing_is_written_in_any(shop: Shop) -> None:
    shop.cart(("b", 4))
    before = shop.versions()
    answer = shop.cart(("a", 1), ("b", 2), ("c", 1))
    assert refused(answer) == (409, "sold_out", "b")
    assert (answer.json["remaining"], answer.json["version"]) == (1, 1)
    assert shop.versions() == before


def test_doors_that_are_closed_in_one_event_close_the_cart(shop: Shop) -> None:
    shop.office.create(Event("later", "Later", 5, opens_at=START + timedelta(seconds=90), lab=True))
    answer = shop.cart(("a", 1), ("later", 1))
    assert refused(answer) == (409, "doors_closed", "later")
    assert answer.headers["Retry-After"] == "90"
    assert shop.versions() == [0, 0, 0]
    shop.now += timedelta(seconds=90)
    assert shop.cart(("a", 1), ("later", 1)).status_code == 201


def test_limits_per_order_and_per_buyer_are_those_of_each_event(shop: Shop) -> None:
    shop.office.create(Event("few", "Few", 50, max_per_order=2, max_per_buyer=3, lab=True))
    assert refused(shop.cart(("a", 1), ("few", 3))) == (422, "over_limit", "few")
    assert shop.cart(("a", 2), ("few", 2), buyer="ann").status_code == 201
    assert refused(shop.cart(("a", 1), ("few", 2), buyer="ann")) == (409, "buyer_limit", "few")
    assert shop.cart(("a", 1), ("few", 2), buyer="bob").status_code == 201
    assert shop.left() == [2, 5, 5]


def test_holds_that_are_due_free_their_places_for_a_cart_and_expire_with_it(shop: Shop) -> None:
    for event in "ab":
        shop.client.post(f"/events/{event}/holds", json={"quantity": 5, "seconds": 60})
    assert refused(shop.cart(("a", 1), ("b", 1))) == (409, "sold_out", "a")
    shop.now += timedelta(seconds=60)
    assert shop.cart(("a", 1), ("b", 2)).status_code == 201
    for event in "ab":
        assert [(record["version"], record["kind"]) for record in shop.audit(event)] == [
            (1, "held"), (2, "expired"), (3, "sold"),
        ]  # fmt: skip


def test_a_refused_cart_expires_holds_only_in_the_event_that_it_names(shop: Shop) -> None:
    for event in "ab":
        shop.client.post(f"/events/{event}/holds", json={"quantity": 1, "seconds": 60})
    shop.now += timedelta(seconds=60)
    answer = shop.cart(("a", 1), ("b", 6))
    assert refused(answer) == (409, "sold_out", "b")
    assert (answer.json["version"], answer.json["remaining"]) == (2, 5)
    assert [record["kind"] for record in shop.audit("b")] == ["held", "expired"]
    assert [record["kind"] for record in shop.audit("a")] == ["held"]


def test_one_order_of_a_cart_is_cancelled_like_any_other_and_the_rest_stays(shop: Shop) -> None:
    orders = shop.cart(("a", 2), ("b", 2)).json["orders"]
    assert shop.client.delete(f"/events/a/orders/{orders[0]['order']}").status_code == 200
    assert shop.left() == [5, 3, 5]
    assert "cart" not in shop.audit("a")[-1]


def test_a_cart_of_one_event_is_a_cart(shop: Shop) -> None:
    answer = shop.cart(("a", 1))
    assert [order["event"] for order in answer.json["orders"]] == ["a"]
    assert shop.audit("a")[0]["cart"] == answer.json["cart"]


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_same_key_and_cart_again_gives_the_first_answer(shop: Shop) -> None:
    first = shop.cart(("b", 2), ("a", 1), key="k")
    shop.cart(("a", 1), ("b", 1))
    again = shop.cart(("b", 2), ("a", 1), key="k")
    assert (again.status_code, again.json) == (201, first.json)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert shop.versions() == [2, 2, 0]


@pytest.mark.parametrize(
    "other", [[("a", 2), ("b", 1)], [("a", 1), ("c", 1)], [("a", 1)], [("b", 1), ("a", 1)]],
    ids=["another quantity", "another event", "one event less", "another order"],
)  # fmt: skip
def test_the_same_key_and_another_cart_is_refused(shop: Shop, other: list[tuple[str, int]]) -> None:
    shop.cart(("a", 1), ("b", 1), key="k")
    assert refused(shop.cart(*other, key="k"))[:2] == (422, "key_reused")
    assert shop.versions() == [1, 1, 0]


def test_the_key_of_a_purchase_in_one_of_the_events_is_not_free_for_a_cart_nor_the_other_way_round(shop: Shop) -> None:
    shop.client.post("/events/b/orders", json={"quantity": 1}, headers={"Idempotency-Key": "k"})
    assert refused(shop.cart(("a", 1), ("b", 1), key="k")) == (422, "key_reused", "b")
    assert shop.versions() == [0, 1, 0]
    shop.cart(("a", 1), ("c", 1), key="l")
    again = shop.client.post("/events/c/orders", json={"quantity": 1}, headers={"Idempotency-Key": "l"})
    assert (again.status_code, again.json["code"]) == (422, "key_reused")


def test_a_refused_cart_leaves_its_key_free(shop: Shop) -> None:
    order = shop.cart(("a", 5)).json["orders"][0]["order"]
    assert refused(shop.cart(("a", 1), ("b", 1), key="k")) == (409, "sold_out", "a")
    shop.client.delete(f"/events/a/orders/{order}")
    assert shop.cart(("a", 1), ("b", 1), key="k").status_code == 201


# -- what a cart cannot be --------------------------------------------------------------------------------------------

ITEM = {"event": "a", "quantity": 1}
BAD: dict[str, tuple[int, str, object]] = {
    "no items": (422, "invalid_value", {"items": []}),
    "items missing": (422, "invalid_value", {}),
    "items an object": (422, "invalid_value", {"items": ITEM}),
    "an item that is a name": (422, "invalid_value", {"items": ["a"]}),
    "the same event twice": (422, "invalid_value", {"items": [ITEM, {"event": "b", "quantity": 1}, ITEM]}),
    "eleven items": (422, "invalid_value", {"items": [{"event": f"e{n}", "quantity": 1} for n in range(11)]}),
    "an unknown event": (404, "unknown_event", {"items": [ITEM, {"event": "nobody", "quantity": 1}]}),
    "an event that climbs": (422, "invalid_value", {"items": [{"event": "../a", "quantity": 1}]}),
    "an event with a line break": (422, "invalid_value", {"items": [{"event": "a\n", "quantity": 1}]}),
    "an event that is a number": (422, "invalid_value", {"items": [{"event": 1, "quantity": 1}]}),
    "quantity zero": (422, "invalid_value", {"items": [ITEM, {"event": "b", "quantity": 0}]}),
    "quantity negative": (422, "invalid_value", {"items": [{"event": "b", "quantity": -1}]}),
    "quantity huge": (422, "invalid_value", {"items": [{"event": "b", "quantity": 10**30}]}),
    "quantity over an order's": (422, "over_limit", {"items": [ITEM, {"event": "b", "quantity": 11}]}),
    "quantity a float": (422, "invalid_value", {"items": [{"event": "b", "quantity": 1.5}]}),
    "quantity true": (422, "invalid_value", {"items": [{"event": "b", "quantity": True}]}),
    "quantity missing": (422, "invalid_value", {"items": [{"event": "b"}]}),
    "a field that nobody knows": (422, "invalid_value", {"items": [{**ITEM, "price": 0}]}),
    "a buyer without a name": (422, "invalid_value", {"items": [ITEM], "buyer": ""}),
    "a cart id of the client's own": (422, "invalid_value", {"items": [ITEM], "cart": "c1"}),
    "a list": (422, "invalid_value", [ITEM]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named_and_nothing_is_written(json_shop: Shop, what: str) -> None:
    status, code, content = BAD[what]
    answer = json_shop.client.post("/carts", json=content)
    assert refused(answer)[:2] == (status, code)
    assert json_shop.versions() == [0, 0, 0]


def test_the_event_that_does_not_exist_is_named(json_shop: Shop) -> None:
    assert refused(json_shop.cart(("a", 1), ("nobody", 1))) == (404, "unknown_event", "nobody")


def test_an_event_that_was_removed_is_not_sold_any_more(shop: Shop) -> None:
    shop.cart(("a", 1), ("b", 1))
    shop.office.delete("b")
    assert refused(shop.cart(("a", 1), ("b", 1))) == (404, "unknown_event", "b")
    shop.office.create(Event("b", "b", 5, lab=True))
    assert [order["tickets"] for order in shop.cart(("a", 1), ("b", 1)).json["orders"]] == [[2], [1]]


def test_a_key_of_201_characters_is_refused(json_shop: Shop) -> None:
    assert refused(json_shop.cart(("a", 1), key="k" * 201))[:2] == (422, "invalid_value")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused(json_shop: Shop, method: str) -> None:
    assert refused(json_shop.client.open("/carts", method=method))[:2] == (405, "method_not_allowed")


def test_a_store_that_writes_to_one_event_at_a_time_says_so(make_client: Callable[..., FlaskClient]) -> None:
    shop = Shop(make_client(store="memory", first_event=None))
    answer = shop.cart(("a", 1), ("b", 1))
    assert refused(answer)[:2] == (501, "not_supported")
    assert "json, journal, sqlite, postgres, redis" in answer.json["detail"]
    assert shop.versions() == [0, 0, 0]


def test_a_cart_with_a_real_event_in_it_obeys_the_safe_guard(make_client: Callable[..., FlaskClient]) -> None:
    """An unsafe guard acts only on the lab's events, whatever else lies in the cart."""
    shop = Shop(make_client(first_event=None, guard="none", allow_unsafe=True, lock_timeout_s=1.0))
    shop.office.create(Event("real", "Real", 5))
    held, done = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        lock = shop.office.transactions.guard("file")
        with lock.around_request("real", time.monotonic() + 30), lock.around_request("a", time.monotonic() + 30):
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold_the_lock)
    holder.start()
    try:
        assert held.wait(30)
        assert shop.cart(("a", 1), ("b", 1)).status_code == 201
        assert refused(shop.cart(("real", 1), ("b", 1))) == (503, "lock_timeout", "real")
        assert refused(shop.cart(("a", 1), ("real", 1))) == (503, "lock_timeout", "a")
    finally:
        done.set()
        holder.join(30)


# -- the rules --------------------------------------------------------------------------------------------------------


def views(**left: int) -> dict[str, View]:
    return {name: View(Event(name, name, capacity)) for name, capacity in left.items()}


def sales(*names: str, key: str = "k", request: str = "r") -> dict[str, Sell]:
    return {name: Sell(key, request, f"o-{name}", 1, None, "c1") for name in names}


def test_what_is_decided_is_in_all_views_or_to_be_appended_in_none() -> None:
    there = views(a=1, b=1)
    granted = decide_cart(there, sales("a", "b"), START)
    assert isinstance(granted, Granted)
    assert [record.cart for record in granted.records] == ["c1", "c1"]
    assert [view.fresh for view in there.values()] == [[record] for record in granted.records]


def test_a_key_that_only_some_events_know_is_a_cart_torn_apart_and_is_not_sold_again() -> None:
    there = views(a=2, b=2)
    there["a"].apply(Record(1, "sold", "k", "o", 1, (1,), 1, "r", cart="c0"))
    decided = decide_cart(there, sales("b", "a"), START)
    assert isinstance(decided, CartRefused)
    assert (decided.event, decided.refusal.code) == ("b", "half_cart")
