"""The delay between reading and writing, and how far the guard reaches around it."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.app import create_app
from service.settings import Settings, Think, from_environment
from service.stores import store_class

SHORT_S = 0.05


def timing(answer: TestResponse) -> dict[str, float]:
    return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"])}


def buy(client: FlaskClient) -> TestResponse:
    return client.post("/events/show/orders", json={"quantity": 1})


@contextmanager
def held(data: Path) -> Iterator[None]:
    """As if a purchase in another process were inside: the lock of the event ``show`` is taken."""
    fd = os.open(data / "locks" / "show.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("store", "more", "most"),
    [
        ("json", {}, 64),
        ("json", {"think": Think(0, 5)}, 1),
        ("json", {"think": Think(5, 5), "batch": 8}, 8),
        ("journal", {}, 64),
        ("journal", {"think": Think(5, 5)}, 1),
        ("memory", {}, 1),
    ],
)
def test_purchases_that_wait_are_decided_together_and_alone_where_each_thinks(
    store: str, more: dict[str, Any], most: int
) -> None:
    settings = Settings(store=store, **more)
    assert store_class(store).most_together(settings) == most


@pytest.mark.parametrize("how", ["io", "cpu"])
def test_a_purchase_thinks_while_it_holds_the_guard(tmp_path: Path, how: str) -> None:
    variables = {"LASTSEAT_DATA": str(tmp_path / "data"), "LASTSEAT_THINK_MS": "20-30", "LASTSEAT_THINK": how}
    client = create_app(from_environment(variables)).test_client()
    answer = buy(client)
    assert answer.status_code == 201
    assert timing(answer)["hold"] >= 20
    assert timing(answer)["store"] < timing(answer)["hold"]


def test_thinking_io_sleeps_and_thinking_cpu_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slept: list[float] = []
    monkeypatch.setattr("service.sales.command_handler.time.sleep", slept.append)
    for how in (Think(7, 7), Think(7, 7, compute=True)):
        client = create_app(Settings(data=tmp_path / f"data-{how.compute}", think=how)).test_client()
        assert buy(client).status_code == 201
    assert slept == [0.007]


def test_a_refusal_has_thought_too(make_client: Callable[..., FlaskClient]) -> None:
    """Else a sold-out event would look faster than it is: the lecture's delay is that of its database."""
    client = make_client(think=Think(20, 20), first_event=("show", 1))
    buy(client)
    answer = buy(client)
    assert answer.json["code"] == "sold_out"
    assert timing(answer)["hold"] >= 20


def test_without_a_delay_nobody_sleeps(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    monkeypatch.setattr("service.sales.command_handler.time.sleep", lambda _: pytest.fail("it slept"))
    assert buy(client).status_code == 201


READS = ["/events/show", "/events/show/orders/o404"]


@pytest.mark.parametrize("path", READS)
def test_by_default_a_read_does_not_wait_for_a_purchase_that_is_inside(
    make_client: Callable[..., FlaskClient], tmp_path: Path, path: str
) -> None:
    client = make_client(lock_timeout_s=SHORT_S)
    with held(tmp_path / "data"):
        assert client.get(path).json.get("code") != "lock_timeout"
        purchase = buy(client)
    assert (purchase.status_code, purchase.json["code"]) == (503, "lock_timeout")


@pytest.mark.parametrize("path", READS)
def test_around_the_whole_request_a_read_waits_for_the_guard_too(
    make_client: Callable[..., FlaskClient], tmp_path: Path, path: str
) -> None:
    client = make_client(lock_timeout_s=SHORT_S, request_scope=True)
    with held(tmp_path / "data"):
        answer = client.get(path)
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (503, "lock_timeout", True)
    assert answer.headers["Retry-After"] == "1"
    assert client.get(path).json.get("code") != "lock_timeout"


def test_around_the_whole_request_the_guard_is_held_even_for_a_body_that_is_none(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    client = make_client(lock_timeout_s=SHORT_S, request_scope=True)
    nonsense = {"data": b"{", "content_type": "application/json"}
    with held(tmp_path / "data"):
        assert client.post("/events/show/orders", **nonsense).json["code"] == "lock_timeout"
    assert client.post("/events/show/orders", **nonsense).json["code"] == "not_json"


def test_around_the_whole_request_buying_and_cancelling_work(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(request_scope=True)
    order = buy(client).json["order"]
    assert client.get(f"/events/show/orders/{order}").json["status"] == "sold"
    assert client.delete(f"/events/show/orders/{order}").json["version"] == 2
    assert client.get("/events/nobody").json["code"] == "unknown_event"


def test_around_the_whole_request_many_at_once_sell_exactly_to_the_last_seat(
    make_client: Callable[..., FlaskClient],
) -> None:
    client = make_client(request_scope=True, think=Think(1, 1), lock_timeout_s=30)
    answers: list[TestResponse] = []
    buyers = [threading.Thread(target=lambda: answers.append(buy(client.application.test_client()))) for _ in range(14)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    tickets = [ticket for answer in answers if answer.status_code == 201 for ticket in answer.json["tickets"]]
    assert sorted(tickets) == list(range(1, 11))
    assert [answer.json["code"] for answer in answers if answer.status_code != 201] == ["sold_out"] * 4


def test_the_scope_is_taken_from_the_environment(tmp_path: Path) -> None:
    variables = {
        "LASTSEAT_DATA": str(tmp_path / "data"),
        "LASTSEAT_GUARD_SCOPE": "request",
        "LASTSEAT_LOCK_TIMEOUT_S": str(SHORT_S),
    }
    client = create_app(from_environment(variables)).test_client()
    with held(tmp_path / "data"):
        assert client.get("/events/show").status_code == 503
