"""A sale is managed over HTTP, on every store: closed and opened, made larger, its orders listed, one cancelled."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from servers import settings_of
from werkzeug.test import TestResponse

from service.guards import fitting
from service.stores import STORES

EVENT = "/events/show"


@pytest.fixture(params=list(STORES))
def office(request: pytest.FixtureRequest, make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    settings = settings_of(request.param, tmp_path)
    return make_client(store=settings.store, store_url=settings.store_url)


@pytest.fixture
def change(office: FlaskClient, admin: dict[str, str]) -> Callable[..., TestResponse]:
    return lambda **fields: office.patch(EVENT, json=fields, headers=admin)


def buy(client: FlaskClient, quantity: int = 1, **more: Any) -> TestResponse:
    return client.post(f"{EVENT}/orders", json={"quantity": quantity, **more})


def audit(client: FlaskClient, admin: dict[str, str]) -> list[dict[str, Any]]:
    return list(map(json.loads, client.get(f"{EVENT}/audit", headers=admin).text.splitlines()))


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_closed_sale_sells_nothing_until_it_is_opened(
    office: FlaskClient, change: Callable[..., TestResponse]
) -> None:
    held = office.post(f"{EVENT}/holds", json={"quantity": 1}).json["hold"]
    closed = change(closes_at=soon(0))
    assert (closed.status_code, closed.json["version"], closed.json["remaining"]) == (200, 2, 9)
    for refused in (buy(office), office.post(f"{EVENT}/holds", json={"quantity": 1})):
        assert (refused.status_code, refused.json["code"], refused.json["version"]) == (409, "doors_closed", 2)
        assert "Retry-After" not in refused.headers
    assert office.post(f"{EVENT}/holds/{held}/confirm").status_code == 201  # what is held already can be paid
    assert change(closes_at=None).status_code == 200
    assert buy(office).status_code == 201
    assert change(opens_at=soon(3600)).status_code == 200
    assert int(buy(office).headers["Retry-After"]) > 3000
    assert change(opens_at=None, closes_at=soon(3600)).status_code == 200
    assert buy(office).status_code == 201


def test_a_sale_is_closed_under_every_guard(
    office: FlaskClient, change: Callable[..., TestResponse], admin: dict[str, str]
) -> None:
    store = office.application.extensions["office"].store
    for guard in fitting(store):
        assert office.put("/guard", json={"guard": guard}, headers=admin).status_code == 200
        assert change(closes_at=soon(0)).status_code == 200
        assert buy(office).json["code"] == "doors_closed", guard
        assert change(closes_at=None).status_code == 200
        assert office.delete(f"{EVENT}/orders/{buy(office).json['order']}").status_code == 200


def test_a_larger_capacity_sells_more_and_a_smaller_one_never_less_than_was_sold(
    office: FlaskClient, change: Callable[..., TestResponse]
) -> None:
    assert buy(office, 10).status_code == 201
    assert buy(office).json["code"] == "sold_out"
    assert change(capacity=12).json["remaining"] == 2
    assert buy(office, 2).json["tickets"] == [11, 12]
    refused = change(capacity=11)
    assert (refused.status_code, refused.json["code"]) == (409, "too_many_sold")
    assert office.get(EVENT).json["capacity"] == 12


def test_every_change_stands_in_the_audit_and_is_made_once(
    office: FlaskClient, change: Callable[..., TestResponse], admin: dict[str, str]
) -> None:
    opens = soon(-60)
    with_key = admin | {"Idempotency-Key": "k"}
    first = office.patch(EVENT, json={"capacity": 20, "opens_at": opens}, headers=with_key)
    again = office.patch(EVENT, json={"capacity": 20, "opens_at": opens}, headers=with_key)
    assert (again.json, again.headers["Idempotency-Replayed"]) == (first.json, "true")
    buy(office)
    header, changed, sold = audit(office, admin)
    assert (header["capacity"], header["versions"]) == (20, 2)
    assert {name: changed[name] for name in ("version", "kind", "key", "capacity", "closes_at")} == {
        "version": 1, "kind": "amended", "key": "k", "capacity": 20, "closes_at": None,
    }  # fmt: skip
    assert datetime.fromisoformat(changed["opens_at"]) == datetime.fromisoformat(opens)
    assert (sold["version"], sold["tickets"]) == (2, [1])


def test_the_change_is_there_after_a_restart(
    make_client: Callable[..., FlaskClient], admin: dict[str, str], tmp_path: Path
) -> None:
    for name, traits in STORES.items():
        settings = settings_of(name, tmp_path / name)
        if not traits.durable:
            continue
        more = {"store": settings.store, "store_url": settings.store_url, "data": settings.data}
        first = make_client(**more)
        assert first.patch(EVENT, json={"capacity": 12, "closes_at": soon(0)}, headers=admin).status_code == 200
        later = make_client(**more)
        assert later.get(EVENT).json["capacity"] == 12
        assert buy(later).json["code"] == "doors_closed", name


def test_orders_are_listed_with_names_in_pages_and_found(office: FlaskClient, admin: dict[str, str]) -> None:
    ids = [buy(office, buyer=name).json["order"] for name in ("Ann Li", "Bob", "Cy Li")]
    held = office.post(f"{EVENT}/holds", json={"quantity": 2, "buyer": "Di"}).json["hold"]
    ids.append(office.post(f"{EVENT}/holds/{held}/confirm").json["order"])
    office.delete(f"{EVENT}/orders/{ids[1]}")

    def ask(query: str = "") -> dict[str, Any]:
        found: dict[str, Any] = office.get(f"{EVENT}/orders{query}", headers=admin).json
        return found

    listed = ask()["orders"]
    assert [(each["order"], each["buyer"], each["status"]) for each in listed] == [
        (ids[0], "Ann Li", "sold"), (ids[1], "Bob", "cancelled"), (ids[2], "Cy Li", "sold"), (ids[3], "Di", "sold"),
    ]  # fmt: skip
    page = ask("?limit=3")
    assert ([each["order"] for each in page["orders"]], page["next"]) == (ids[:3], 3)
    assert [each["order"] for each in ask(f"?limit=3&after={page['next']}")["orders"]] == ids[3:]
    for words, found in (("li", [ids[0], ids[2]]), (ids[3], [ids[3]]), ("5", [ids[3]]), ("nobody", [])):
        assert [each["order"] for each in ask(f"?find={words}")["orders"]] == found
    assert [each["order"] for each in ask("?status=cancelled")["orders"]] == [ids[1]]


def test_an_admin_cancels_with_a_reason_that_the_audit_has(office: FlaskClient, admin: dict[str, str]) -> None:
    order = buy(office, 2, buyer="Ann").json["order"]
    assert office.delete(f"{EVENT}/orders/{order}?reason=ill").status_code == 401
    cancelled = office.delete(f"{EVENT}/orders/{order}?reason=ill", headers=admin)
    assert (cancelled.status_code, cancelled.json["remaining"]) == (200, 10)
    assert audit(office, admin)[-1]["reason"] == "ill"
    assert office.get(f"{EVENT}/orders", headers=admin).json["orders"][0]["reason"] == "ill"
    again = office.delete(f"{EVENT}/orders/{order}?reason=ill", headers=admin)
    assert (again.status_code, again.json["code"]) == (409, "not_open")


def test_the_table_for_the_door_has_those_who_come_and_no_formula(office: FlaskClient, admin: dict[str, str]) -> None:
    gone = buy(office, buyer="Bob").json["order"]
    buy(office, 2, buyer='=cmd|"/c calc"!A1')
    office.delete(f"{EVENT}/orders/{gone}")
    answer = office.get(f"{EVENT}/orders.csv?status=sold", headers=admin)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="show.csv"'
    columns, *rows = csv.reader(answer.data.decode("utf-8-sig").splitlines())
    [row] = [dict(zip(columns, each, strict=True)) for each in rows]
    assert (row["buyer"], row["tickets"], row["status"]) == ('\'=cmd|"/c calc"!A1', "2 3", "sold")


def test_seats_stand_in_the_list_and_a_hall_keeps_its_size(office: FlaskClient, admin: dict[str, str]) -> None:
    hall = {"sections": [{"name": "a", "rows": 2, "seats": 2}]}
    assert office.post("/events", json={"event": "house", "hall": hall}, headers=admin).status_code == 201
    office.post("/events/house/orders", json={"seats": ["a-B-1"], "buyer": "Ann"})
    assert office.get("/events/house/orders?find=a-B-1", headers=admin).json["orders"][0]["seats"] == ["a-B-1"]
    refused = office.patch("/events/house", json={"capacity": 9}, headers=admin)
    assert (refused.status_code, refused.json["code"]) == (422, "hall_fixed")
    assert office.patch("/events/house", json={"closes_at": soon(0)}, headers=admin).status_code == 200
    assert office.post("/events/house/orders", json={"quantity": 1}).json["code"] == "doors_closed"


@pytest.mark.parametrize(
    "body", [{}, {"capacity": 0}, {"capacity": None}, {"capacity": "x"}, {"closes_at": "tomorrow"}, {"lab": False},
             {"closes_at": "2026-01-01T00:00:00"}],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused(client: FlaskClient, admin: dict[str, str], body: dict[str, Any]) -> None:
    refused = client.patch(EVENT, json=body, headers=admin)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_value")
    assert client.get(EVENT).json["version"] == 0


@pytest.mark.parametrize(("method", "path"), [
    ("PATCH", EVENT), ("GET", f"{EVENT}/orders"), ("GET", f"{EVENT}/orders.csv"), ("GET", "/admin/check"),
])  # fmt: skip
def test_nobody_manages_a_sale_without_the_token(client: FlaskClient, method: str, path: str) -> None:
    for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 403)):
        answer = client.open(path, method=method, json={"capacity": 1} if method == "PATCH" else None, headers=headers)
        assert answer.status_code == status
    assert client.get(EVENT).json["version"] == 0
