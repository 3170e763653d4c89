"""Seats over HTTP, on every store: halls, purchases, refusals, the map, and what a stranger may send."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from servers import settings_of
from werkzeug.test import TestResponse

from service.errors import Problem
from service.rules.halls import FREE, HELD, SOLD, Hall, Plan, Row, Section
from service.rules.inventory import Cancel, Confirm, Event, Hold, Sell, Wish, decide_all
from service.settings import Settings
from service.stores import STORES, Store, open_store

SECTIONS = [{"name": "stalls", "rows": 2, "seats": 4}, {"name": "box", "rows": [{"name": "Z", "seats": 2}]}]
ALL = [*(f"stalls-{row}-{number}" for row in "AB" for number in range(1, 5)), "box-Z-1", "box-Z-2"]
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.fixture(params=list(STORES))
def office(request: pytest.FixtureRequest, make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    settings = settings_of(request.param, tmp_path)
    return make_client(store=settings.store, store_url=settings.store_url)


@pytest.fixture
def house(office: FlaskClient, admin: dict[str, str]) -> FlaskClient:
    """With the event ``house`` of ten seats."""
    made = make(office, admin)
    assert (made.status_code, made.json["capacity"]) == (201, 10)
    return office


def make(client: FlaskClient, admin: dict[str, str], event: str = "house", **more: Any) -> TestResponse:
    body = {"event": event, "hall": {"sections": SECTIONS}, "lab": True} | more
    return client.post("/events", json=body, headers=admin)


def buy(client: FlaskClient, *seats: str, event: str = "house", key: str = "", **body: Any) -> TestResponse:
    wanted = {"seats": list(seats)} if seats else {}
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/events/{event}/orders", json=wanted | body, headers=headers)


def hold(client: FlaskClient, *seats: str, **body: Any) -> TestResponse:
    return client.post("/events/house/holds", json=({"seats": list(seats)} if seats else {}) | body)


def states(client: FlaskClient) -> dict[str, int]:
    """The map, taken apart by hand."""
    shown = client.get("/events/house/seats").json
    content = b64decode(shown["states"])
    found = {seat: content[index // 4] >> (6 - 2 * (index % 4)) & 3 for index, seat in enumerate(ALL)}
    counts = [list(found.values()).count(state) for state in (FREE, HELD, SOLD)]
    assert [shown["free"], shown["held"], shown["sold"]] == counts
    return found


def taken(client: FlaskClient) -> dict[str, int]:
    return {seat: state for seat, state in states(client).items() if state}


def test_seats_are_bought_held_paid_and_given_back(house: FlaskClient) -> None:
    order = buy(house, "stalls-A-2", "stalls-A-3").json
    assert (order["seats"], order["tickets"]) == (["stalls-A-2", "stalls-A-3"], [1, 2])
    assert house.get(f"/events/house/orders/{order['order']}").json["seats"] == order["seats"]
    held = hold(house, quantity=2, section="box").json
    assert held["seats"] == ["box-Z-1", "box-Z-2"]
    assert taken(house) == {"stalls-A-2": SOLD, "stalls-A-3": SOLD, "box-Z-1": HELD, "box-Z-2": HELD}
    paid = house.post(f"/events/house/holds/{held['hold']}/confirm").json
    assert (paid["seats"], paid["tickets"]) == (held["seats"], held["tickets"])
    assert house.delete(f"/events/house/orders/{order['order']}").status_code == 200
    assert taken(house) == {"box-Z-1": SOLD, "box-Z-2": SOLD}
    again = hold(house, "stalls-A-3").json
    assert house.delete(f"/events/house/holds/{again['hold']}").status_code == 200
    assert taken(house) == {"box-Z-1": SOLD, "box-Z-2": SOLD}


def test_the_best_are_near_the_middle_of_the_first_row(house: FlaskClient) -> None:
    assert buy(house, quantity=1).json["seats"] == ["stalls-A-2"]
    assert buy(house, quantity=2, together=True).json["seats"] == ["stalls-A-3", "stalls-A-4"]
    assert buy(house, quantity=2).json["seats"] == ["stalls-A-1", "stalls-B-2"]
    assert buy(house, quantity=2, together=True, section="stalls").json["seats"] == ["stalls-B-3", "stalls-B-4"]


def test_a_refusal_names_the_seats_that_are_taken_and_the_version(house: FlaskClient) -> None:
    buy(house, "stalls-A-1", "stalls-A-2")
    refused = buy(house, "stalls-A-3", "stalls-A-2", "stalls-A-1")
    assert refused.status_code == 409
    assert refused.json["code"] == "seat_taken"
    assert (refused.json["seats"], refused.json["version"]) == (["stalls-A-2", "stalls-A-1"], 1)
    assert taken(house).keys() == {"stalls-A-1", "stalls-A-2"}


def test_it_sells_to_the_last_seat_and_then_says_what_is_missing(house: FlaskClient) -> None:
    buy(house, "box-Z-1")
    assert buy(house, quantity=2, section="box").json["code"] == "section_sold_out"
    assert buy(house, "stalls-A-2", "stalls-B-2").status_code == 201
    assert buy(house, quantity=3, together=True).json["code"] == "not_together"
    assert [buy(house, quantity=1).status_code for _ in range(7)] == [201] * 7
    assert buy(house, quantity=1).json["code"] == "sold_out"
    assert states(house) == dict.fromkeys(ALL, SOLD)


def test_a_repeated_key_gives_the_same_seats(house: FlaskClient) -> None:
    first = buy(house, quantity=2, key="k")
    assert buy(house, quantity=2, key="k").json == first.json
    assert buy(house, quantity=2, together=True, key="k").json["code"] == "key_reused"
    assert len(taken(house)) == 2


def test_the_audit_has_the_hall_and_every_seat(house: FlaskClient, admin: dict[str, str]) -> None:
    order = buy(house, "stalls-A-1", "box-Z-2").json
    house.delete(f"/events/house/orders/{order['order']}")
    header, *lines = map(json.loads, house.get("/events/house/audit", headers=admin).text.splitlines())
    rows = {
        section["name"]: [(row["name"], row["seats"]) for row in section["rows"]]
        for section in header["hall"]["sections"]
    }
    assert rows == {"stalls": [("A", 4), ("B", 4)], "box": [("Z", 2)]}
    assert [(line["kind"], line["seats"]) for line in lines] == [
        ("sold", order["seats"]),
        ("cancelled", order["seats"]),
    ]
    assert house.get("/events/house/hall").json == header["hall"]


def test_changes_since_a_version_lead_from_its_map_to_this_one(house: FlaskClient) -> None:
    before = house.get("/events/house/seats").json
    known = states(house)
    order = buy(house, "stalls-B-1", "stalls-B-2").json
    hold(house, "box-Z-1")
    house.delete(f"/events/house/orders/{order['order']}")
    buy(house, "stalls-B-2")
    changed = house.get(f"/events/house/seats?since={before['version']}&born={before['born']}").json
    assert "states" not in changed
    known |= {ALL[index]: state for index, state in changed["changes"]}
    assert known == states(house)
    assert house.get(f"/events/house/seats?since={changed['version']}").json["changes"] == []


def test_where_changes_cannot_be_told_the_whole_map_is(house: FlaskClient, admin: dict[str, str]) -> None:
    before = house.get("/events/house/seats").json
    buy(house, "stalls-A-1")
    buy(house, "stalls-A-2")
    assert "states" in house.get("/events/house/seats?since=99").json
    house.delete("/events/house", headers=admin)
    make(house, admin)
    buy(house, "box-Z-1")
    buy(house, "box-Z-2")
    shown = house.get(f"/events/house/seats?since={before['version']}&born={before['born']}").json
    assert shown["born"] != before["born"]
    assert "states" in shown
    assert taken(house).keys() == {"box-Z-1", "box-Z-2"}


def test_the_map_is_not_sent_again_while_nothing_changed(house: FlaskClient) -> None:
    tag = house.get("/events/house/seats").headers["ETag"]
    assert house.get("/events/house/seats", headers={"If-None-Match": tag}).status_code == 304
    buy(house, "stalls-A-1")
    assert house.get("/events/house/seats", headers={"If-None-Match": tag}).status_code == 200


def test_a_cart_takes_seats_in_each_event_or_none(house: FlaskClient, admin: dict[str, str]) -> None:
    make(house, admin, "other")
    items = [{"event": "house", "seats": ["stalls-A-1"]}, {"event": "other", "quantity": 2, "together": True}]
    bought = house.post("/carts", json={"items": items})
    if bought.status_code == 501:
        assert bought.json["code"] == "not_supported"
        return
    assert [order["seats"] for order in bought.json["orders"]] == [["stalls-A-1"], ["stalls-A-2", "stalls-A-3"]]
    refused = house.post("/carts", json={"items": items})
    assert (refused.json["code"], refused.json["event"]) == ("seat_taken", "house")
    assert house.get("/events/other/seats").json["sold"] == 2
    assert taken(house) == {"stalls-A-1": SOLD}


def test_an_event_without_a_hall_stays_as_it_is(house: FlaskClient) -> None:
    sold = house.post("/events/show/orders", json={"quantity": 1})
    assert sold.status_code == 201
    assert "seats" not in sold.json
    for refused in (
        house.get("/events/show/seats"),
        house.get("/events/show/hall"),
        house.post("/events/show/orders", json={"seats": ["stalls-A-1"]}),
        house.post("/events/show/holds", json={"quantity": 1, "together": True}),
    ):
        assert (refused.status_code, refused.json["code"]) == (422, "no_hall")
    assert house.get("/events/show").json["version"] == 1


# -- bad input: what it costs is nothing -------------------------------------------------------------------------------

BAD_HALLS: dict[str, Any] = {
    "of nothing": {"sections": []},
    "with a section of nothing": {"sections": [{"name": "a", "rows": []}]},
    "of ten million seats": {"sections": [{"name": str(each), "rows": 1000, "seats": 1000} for each in range(10)]},
    "with rows of a million": {"sections": [{"name": "a", "rows": 1, "seats": 1_000_000}]},
    "with equal sections": {"sections": [{"name": "a", "rows": 1, "seats": 1}, {"name": "a", "rows": 1, "seats": 1}]},
    "with equal rows": {"sections": [{"name": "a", "rows": [{"name": "A", "seats": 1}, {"name": "A", "seats": 2}]}]},
    "with equal ids": {"sections": [{"name": "a", "rows": [{"name": "b-c", "seats": 1}]},
                                    {"name": "a-b", "rows": [{"name": "c", "seats": 1}]}]},
    "with NUL": {"sections": [{"name": "a\x00", "rows": 1, "seats": 1}]},
    "with a name of 10,000 letters": {"sections": [{"name": "a" * 10_000, "rows": 1, "seats": 1}]},
    "with an empty name": {"sections": [{"name": "", "rows": 1, "seats": 1}]},
    "with a line break": {"sections": [{"name": "a\n", "rows": 1, "seats": 1}]},
    "without seats": {"sections": [{"name": "a", "rows": 1}]},
    "with two kinds of rows": {"sections": [{"name": "a", "rows": [{"name": "A", "seats": 1}], "seats": 3}]},
    "of something else": {"sections": "stalls"},
}  # fmt: skip


@pytest.mark.parametrize("which", BAD_HALLS)
def test_a_hall_that_cannot_be_is_refused(client: FlaskClient, admin: dict[str, str], which: str) -> None:
    refused = make(client, admin, hall=BAD_HALLS[which])
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_value")
    assert client.get("/events/house").status_code == 404


def test_an_event_has_a_capacity_or_a_hall(client: FlaskClient, admin: dict[str, str]) -> None:
    assert make(client, admin, capacity=3).json["code"] == "invalid_value"
    assert client.post("/events", json={"event": "house"}, headers=admin).json["code"] == "invalid_value"
    assert client.get("/events/house").status_code == 404


BAD_WISHES: dict[str, tuple[dict[str, Any], str]] = {
    "seats of another hall": ({"seats": ["stalls-Q-1"]}, "unknown_seat"),
    "a seat beyond the row": ({"seats": ["stalls-A-5"]}, "unknown_seat"),
    "the same seat twice": ({"seats": ["stalls-A-1", "stalls-A-1"]}, "invalid_value"),
    "no seats": ({"seats": []}, "invalid_value"),
    "no tickets": ({"quantity": 0}, "invalid_value"),
    "nothing": ({}, "invalid_value"),
    "more than the limit": ({"quantity": 4}, "over_limit"),
    "more seats than the limit": ({"seats": ALL[:4]}, "over_limit"),
    "seats and a number": ({"seats": ["stalls-A-1"], "quantity": 1}, "invalid_value"),
    "seats and together": ({"seats": ["stalls-A-1"], "together": True}, "invalid_value"),
    "seats and a section": ({"seats": ["stalls-A-1"], "section": "stalls"}, "invalid_value"),
    "more together than a row": ({"quantity": 3, "together": True, "section": "box"}, "row_too_short"),
    "an unknown section": ({"quantity": 1, "section": "moon"}, "unknown_seat"),
    "an empty section": ({"quantity": 1, "section": ""}, "invalid_value"),
    "a seat with NUL": ({"seats": ["stalls\x00-A-1"]}, "invalid_value"),
    "a seat that is a number": ({"seats": [7]}, "invalid_value"),
}


@pytest.mark.parametrize("which", BAD_WISHES)
@pytest.mark.parametrize("address", ["/events/house/orders", "/events/house/holds", "/carts"])
def test_what_nobody_can_have_is_refused_and_nothing_is_written(
    client: FlaskClient, admin: dict[str, str], address: str, which: str
) -> None:
    make(client, admin, max_per_order=3)
    wish, code = BAD_WISHES[which]
    body = {"items": [{"event": "house"} | wish]} if address == "/carts" else wish
    refused = client.post(address, json=body)
    assert (refused.status_code, refused.json["code"]) == (422, code)
    assert client.get("/events/house").json["version"] == 0


@pytest.mark.parametrize("query", ["since=-1", "since=x", "since=1&since=2", "since=", "born="])
def test_what_the_map_does_not_understand_is_said(client: FlaskClient, admin: dict[str, str], query: str) -> None:
    make(client, admin)
    assert client.get(f"/events/house/seats?{query}").json["code"] == "invalid_value"


def test_a_map_of_20000_seats_is_small(client: FlaskClient, admin: dict[str, str]) -> None:
    sections = [{"name": f"block-{number}", "rows": 40, "seats": 25} for number in range(20)]
    assert make(client, admin, hall={"sections": sections}).json["capacity"] == 20_000
    buy(client, "block-7-AN-25")
    assert len(client.get("/events/house/seats").data) < 20_000


# -- the stores --------------------------------------------------------------------------------------------------------

HALL = Hall(Plan((Section("stalls", (Row("A", 3), Row("B", 3))),)))
HOUSE = Event("house", "House", 6, lab=True, hall=HALL.name, born="b1")


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    opened = open_store(settings_of(request.param, tmp_path))
    opened.halls.keep(HALL)
    opened.create(HOUSE)
    return opened


def commit(store: Store, *commands: Any, now: datetime = NOW) -> list[Any]:
    view = store.view("house", commands, now)
    outcomes = decide_all(view, commands, now)
    if view.fresh:
        [position] = store.append([view])
        store.make_durable("house", position)
    return outcomes


def test_without_a_guard_one_seat_is_sold_to_two(store: Store) -> None:
    """The negative control: no store refuses a second owner of a seat by itself."""
    wanted = [Sell(key, "r", f"o-{key}", 1, wish=Wish(("stalls-A-1",))) for key in "ab"]
    views = [store.view("house", [each], NOW) for each in wanted]
    told = [decide_all(view, [each], NOW)[0].seats for view, each in zip(views, wanted, strict=True)]  # type: ignore[union-attr]
    for view in views:
        store.append([view])
    assert told == [("stalls-A-1",)] * 2
    assert list(store.seats("house").seats) == [SOLD, 0, 0, 0, 0, 0]


def test_a_store_shows_the_seats_that_are_asked_about(store: Store) -> None:
    commit(store, Sell("a", "r", "o1", 2, wish=Wish(("stalls-A-1", "stalls-B-3"))))
    commit(store, Hold("b", "r", "h1", 1, 5.0, wish=Wish(("stalls-A-2",))))
    commit(store, Confirm("c", "r", "h1", "o2"), Cancel("d", "r", "o1"))
    commit(store, Hold("e", "r", "h2", 1, 5.0, wish=Wish(("stalls-B-1",))))
    view = store.seats("house")
    assert (view.version, list(view.seats)) == (5, [FREE, SOLD, FREE, HELD, FREE, FREE])
    later = NOW + timedelta(seconds=9)
    [late] = commit(store, Confirm("f", "r", "h2", "o3"), now=later)
    assert (late.kind, late.seats) == ("sold", ("stalls-B-1",))
    assert list(store.seats("house").seats) == [FREE, SOLD, FREE, SOLD, FREE, FREE]
    assert [record.seats for record in store.audit("house")[1]][-2:] == [("stalls-B-1",)] * 2


def test_an_event_whose_hall_is_gone_sells_nothing(tmp_path: Path) -> None:
    for name in ("json", "journal"):
        settings = Settings(data=tmp_path / name, store=name)
        settings.data.mkdir()
        opened = open_store(settings)
        opened.halls.keep(HALL)
        opened.create(HOUSE)
        opened.close()
        [file] = (settings.data / "halls").iterdir()
        for content in (file.read_bytes().replace(b"stalls", b"stolen"), None):
            file.write_bytes(content) if content is not None else file.unlink()
            with pytest.raises(Problem, match=re.escape(HALL.name)) as problem:
                open_store(settings).view("house")
            assert problem.value.code == "corrupt_document"
