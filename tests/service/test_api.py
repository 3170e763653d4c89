"""The HTTP interface as the contract has it: status, exact fields, the headers of every answer, keys, the switch."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from typed import as_admin
from werkzeug.test import TestResponse

from loadtests.lab.servers.engines import ENGINES
from service.stores import STORES

Headers = dict[str, str]

EVENT_FIELDS = {
    "event",
    "name",
    "capacity",
    "sold",
    "held",
    "remaining",
    "version",
    "guard",
    "epoch",
    "lab",
    "opens_at",
    "max_per_order",
    "max_per_buyer",
    "max_held",
    "max_hold_s",
    "hall",
    "closes_at",
}
REFUSAL_FIELDS = {"type", "title", "status", "code", "definite", "remaining", "version"}


def buy(client: FlaskClient, quantity: int = 1, *, event: str = "show", key: str = "", **more: Any) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/events/{event}/orders", json={"quantity": quantity, **more}, headers=headers)


def cancel(client: FlaskClient, order: str, *, key: str = "") -> TestResponse:
    return client.delete(f"/events/show/orders/{order}", headers={"Idempotency-Key": key} if key else {})


def hooks(app: Flask) -> set[tuple[str, str | None]]:
    """The hooks of every request, by Flask's name for their kind, and whose they are: a blueprint's, or (None) all."""
    kinds = ("before_request_funcs", "after_request_funcs", "teardown_request_funcs", "url_value_preprocessors")
    return {(kind, whose) for kind in kinds for whose, functions in getattr(app, kind).items() if functions}


def counters(client: FlaskClient, event: str = "show") -> tuple[int, int, int, int]:
    found = client.get(f"/events/{event}").json
    return found["sold"], found["held"], found["remaining"], found["version"]


def audit(client: FlaskClient, event: str = "show") -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in client.get(f"/events/{event}/audit", headers=as_admin(client)).data.splitlines()
    ]


def make(client: FlaskClient, admin: Headers, event: str = "gala", capacity: int = 5, **more: Any) -> TestResponse:
    return client.post("/events", json={"event": event, "capacity": capacity, **more}, headers=admin)


def assert_problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["definite"] is True
    found: dict[str, Any] = answer.json
    return found


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_new_event_is_answered_whole_and_found_at_its_location(client: FlaskClient, admin: Headers) -> None:
    answer = make(client, admin, "gala", 5, name="The Gala", lab=True)
    assert answer.status_code == 201
    assert answer.json.keys() == EVENT_FIELDS
    assert (answer.json["event"], answer.json["name"], answer.json["lab"]) == ("gala", "The Gala", True)
    assert (answer.json["capacity"], answer.json["remaining"], answer.json["version"]) == (5, 5, 0)
    assert client.get(answer.headers["Location"]).json == answer.json


def test_an_event_says_what_is_sold_held_and_left(client: FlaskClient) -> None:
    buy(client, 3)
    answer = client.get("/events/show")
    assert answer.status_code == 200
    assert answer.json.keys() == EVENT_FIELDS
    assert counters(client) == (3, 0, 7, 1)


def test_all_events_are_listed_by_id_with_the_same_fields(client: FlaskClient, admin: Headers) -> None:
    make(client, admin, "gala")
    listed = client.get("/events").json["events"]
    assert [each["event"] for each in listed] == ["gala", "show"]
    assert all(each.keys() == EVENT_FIELDS for each in listed)


def test_an_event_is_made_once(client: FlaskClient, admin: Headers) -> None:
    buy(client, 2)
    assert_problem(make(client, admin, "show", 99), 409, "event_exists")
    assert counters(client) == (2, 0, 8, 1)


def test_a_deleted_event_is_gone(client: FlaskClient, admin: Headers) -> None:
    make(client, admin)
    buy(client, event="gala")
    answer = client.delete("/events/gala?even_if_sold=1", headers=admin)
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get("/events/gala"), 404, "unknown_event")
    assert_problem(client.get("/events/gala/audit"), 404, "unknown_event")
    assert_problem(buy(client, event="gala"), 404, "unknown_event")
    assert_problem(client.delete("/events/gala", headers=admin), 404, "unknown_event")
    assert [each["event"] for each in client.get("/events").json["events"]] == ["show"]


def kept_audits(client: FlaskClient) -> list[Path]:
    return sorted((client.application.extensions["office"]._settings.data / "removed").glob("*"))


@pytest.mark.parametrize("store", STORES)
def test_an_event_with_tickets_sold_is_removed_only_by_who_names_their_number(
    make_client: Callable[..., FlaskClient], admin: Headers, store: str
) -> None:
    client = make_client(store=store)
    make(client, admin)
    buy(client, 2, event="gala")
    client.post("/events/gala/holds", json={"quantity": 1})
    before = client.get("/events/gala/audit", headers=admin).data
    for query in ("", "?even_if_sold=3", "?even_if_sold=0"):
        refused = assert_problem(client.delete(f"/events/gala{query}", headers=admin), 409, "event_sold")
        assert (refused["sold"], refused["held"], refused["version"]) == (2, 1, 2)
        assert "DELETE /events/gala?even_if_sold=2" in refused["detail"]
    assert client.get("/events/gala/audit", headers=admin).data == before
    assert kept_audits(client) == []
    assert client.delete("/events/gala?even_if_sold=2", headers=admin).status_code == 204
    assert_problem(client.get("/events/gala"), 404, "unknown_event")
    [kept] = kept_audits(client)
    assert kept.read_bytes() == before
    assert kept.name.startswith("gala-2")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert make(client, admin).status_code == 201


def test_held_tickets_alone_keep_an_event_and_sales_that_were_cancelled_do_not(
    client: FlaskClient, admin: Headers
) -> None:
    make(client, admin)
    hold = client.post("/events/gala/holds", json={"quantity": 1}).json["hold"]
    assert assert_problem(client.delete("/events/gala", headers=admin), 409, "event_sold")["sold"] == 0
    client.delete(f"/events/gala/holds/{hold}")
    assert client.delete("/events/gala", headers=admin).status_code == 204
    assert len(kept_audits(client)) == 1


def test_a_lab_event_and_one_that_nobody_asked_for_are_removed_without_a_question(
    client: FlaskClient, admin: Headers
) -> None:
    """The negative control: what is not worth a question leaves no audit either."""
    buy(client, 2)
    make(client, admin)
    assert [client.delete(f"/events/{each}", headers=admin).status_code for each in ("show", "gala")] == [204, 204]
    assert kept_audits(client) == []


@pytest.mark.parametrize("number", ["-1", "two", "null", "", "2&even_if_sold=2"])
def test_a_number_of_tickets_that_is_none_removes_nothing(client: FlaskClient, admin: Headers, number: str) -> None:
    make(client, admin)
    assert_problem(client.delete(f"/events/gala?even_if_sold={number}", headers=admin), 422, "invalid_value")
    assert client.get("/events/gala").status_code == 200


@pytest.mark.parametrize("store", ENGINES)
def test_a_sale_between_the_question_and_the_removal_keeps_the_event(
    make_client: Callable[..., FlaskClient], admin: Headers, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """On an engine nobody is kept out while the audit is written; on the other stores everybody is."""
    client = make_client(store=store)
    make(client, admin)
    buy(client, event="gala")
    monkeypatch.setattr("service.sales.audits.sync_names", lambda _: buy(client, event="gala"))
    assert_problem(client.delete("/events/gala?even_if_sold=1", headers=admin), 503, "contention")
    assert counters(client, "gala")[0] == 2
    assert kept_audits(client) == []


def test_an_audit_that_cannot_be_kept_keeps_the_event(
    client: FlaskClient, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(client, admin)
    buy(client, event="gala")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("service.sales.audits.write_durably", full)
    assert_problem(client.delete("/events/gala?even_if_sold=1", headers=admin), 507, "storage_full")
    assert counters(client, "gala")[0] == 1


# -- orders -----------------------------------------------------------------------------------------------------------


def test_a_purchase_gives_ticket_numbers_in_order_and_what_remains(client: FlaskClient) -> None:
    buy(client, 2)
    answer = buy(client, 3, buyer="Ada")
    assert answer.status_code == 201
    assert answer.json.keys() == {"order", "event", "quantity", "tickets", "remaining", "version"}
    assert (answer.json["event"], answer.json["quantity"], answer.json["tickets"]) == ("show", 3, [3, 4, 5])
    assert (answer.json["remaining"], answer.json["version"]) == (5, 2)
    assert client.get(answer.headers["Location"]).status_code == 200


def test_an_order_can_be_looked_up_with_its_status(client: FlaskClient) -> None:
    order = buy(client, 2).json["order"]
    open_order = client.get(f"/events/show/orders/{order}")
    assert open_order.status_code == 200
    assert open_order.json.keys() == {"order", "event", "quantity", "tickets", "status", "version"}
    assert (open_order.json["status"], open_order.json["tickets"], open_order.json["version"]) == ("sold", [1, 2], 1)
    cancel(client, order)
    cancelled = client.get(f"/events/show/orders/{order}").json
    assert (cancelled["status"], cancelled["tickets"], cancelled["version"]) == ("cancelled", [1, 2], 2)


def test_the_last_seat_is_sold_and_then_none(client: FlaskClient) -> None:
    buy(client, 9)
    assert buy(client, 1).json["remaining"] == 0
    refused = assert_problem(buy(client, 1), 409, "sold_out")
    assert refused.keys() == REFUSAL_FIELDS
    assert (refused["remaining"], refused["version"]) == (0, 2)


def test_an_order_larger_than_what_is_left_gets_nothing_at_all(client: FlaskClient) -> None:
    buy(client, 8)
    refused = assert_problem(buy(client, 3), 409, "sold_out")
    assert (refused["remaining"], refused["version"]) == (2, 1)
    assert counters(client) == (8, 0, 2, 1)


def test_a_cancelled_order_gives_its_places_back_but_not_its_numbers(client: FlaskClient) -> None:
    order = buy(client, 10).json["order"]
    answer = cancel(client, order)
    assert answer.status_code == 200
    assert answer.json == {"order": order, "status": "cancelled", "remaining": 10, "version": 2}
    assert buy(client, 2).json["tickets"] == [11, 12]


def test_an_order_is_cancelled_once(client: FlaskClient) -> None:
    order = buy(client).json["order"]
    cancel(client, order)
    assert assert_problem(cancel(client, order), 409, "not_open")["version"] == 2
    assert counters(client) == (0, 0, 10, 2)


def test_an_unknown_order_is_unknown_and_the_answer_says_on_which_version(client: FlaskClient) -> None:
    buy(client)
    assert assert_problem(cancel(client, "o404"), 404, "unknown_order")["version"] == 1
    assert assert_problem(client.get("/events/show/orders/o404"), 404, "unknown_order")["version"] == 1


def test_an_order_belongs_to_its_event(client: FlaskClient, admin: Headers) -> None:
    make(client, admin)
    order = buy(client).json["order"]
    assert_problem(client.delete(f"/events/gala/orders/{order}"), 404, "unknown_order")
    assert counters(client) == (1, 0, 9, 1)


# -- the rules of an event --------------------------------------------------------------------------------------------


def test_before_the_doors_open_nothing_is_sold_and_retry_after_says_when(client: FlaskClient, admin: Headers) -> None:
    opens_at = datetime.now(UTC) + timedelta(hours=1)
    made = make(client, admin, opens_at=opens_at.isoformat())
    assert datetime.fromisoformat(made.json["opens_at"]) == opens_at
    answer = buy(client, event="gala")
    assert_problem(answer, 409, "doors_closed")
    assert 3500 <= int(answer.headers["Retry-After"]) <= 3601
    assert counters(client, "gala") == (0, 0, 5, 0)


@pytest.mark.parametrize("opened_at", ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_after_the_doors_have_opened_tickets_are_sold(client: FlaskClient, admin: Headers, opened_at: str) -> None:
    make(client, admin, opens_at=opened_at)
    assert buy(client, event="gala").status_code == 201


def test_doors_that_open_in_the_farthest_future_only_stay_closed(client: FlaskClient, admin: Headers) -> None:
    make(client, admin, opens_at="9999-12-31T23:59:59-14:00")
    assert_problem(buy(client, event="gala"), 409, "doors_closed")


def test_no_order_has_more_tickets_than_the_event_allows(client: FlaskClient, admin: Headers) -> None:
    assert make(client, admin, max_per_order=2).json["max_per_order"] == 2
    assert_problem(buy(client, 3, event="gala"), 422, "over_limit")
    assert buy(client, 2, event="gala").status_code == 201


def test_no_buyer_has_more_tickets_than_the_event_allows_until_some_are_given_back(
    client: FlaskClient, admin: Headers
) -> None:
    assert make(client, admin, max_per_buyer=3).json["max_per_buyer"] == 3
    order = buy(client, 2, event="gala", buyer="Ada").json["order"]
    assert_problem(buy(client, 2, event="gala", buyer="Ada"), 409, "buyer_limit")
    assert buy(client, 2, event="gala", buyer="Grace").status_code == 201
    client.delete(f"/events/gala/orders/{order}")
    assert buy(client, 3, event="gala", buyer="Ada").status_code == 201


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_same_key_and_payload_get_the_first_answer_again(client: FlaskClient) -> None:
    first = buy(client, 2, key="k1")
    buy(client, 3)
    again = buy(client, 2, key="k1")
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.json, again.headers["Location"]) == (201, first.json, first.headers["Location"])
    assert counters(client) == (5, 0, 5, 2)


def test_without_a_key_every_purchase_is_a_new_one(client: FlaskClient) -> None:
    assert buy(client).json["order"] != buy(client).json["order"]
    assert counters(client) == (2, 0, 8, 2)


def test_a_key_is_the_same_with_and_without_its_quotes(client: FlaskClient) -> None:
    first = buy(client, key='"k1"')
    assert buy(client, key="k1").json == first.json
    assert audit(client)[1]["key"] == "k1"


def test_the_order_of_the_fields_of_a_payload_does_not_matter(client: FlaskClient) -> None:
    sent = [b'{"quantity":1,"buyer":"Ada"}', b'{ "buyer": "\\u0041da", "quantity": 1 }']
    answers = [
        client.post("/events/show/orders", data=each, content_type="application/json", headers={"Idempotency-Key": "k"})
        for each in sent
    ]
    assert answers[0].json == answers[1].json
    assert answers[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("changed", [{"quantity": 2}, {"buyer": "Grace"}])
def test_the_same_key_with_another_payload_is_refused(client: FlaskClient, changed: dict[str, Any]) -> None:
    buy(client, key="k1")
    wanted = {"quantity": 1, **changed}
    answer = client.post("/events/show/orders", json=wanted, headers={"Idempotency-Key": "k1"})
    assert_problem(answer, 422, "key_reused")
    assert counters(client) == (1, 0, 9, 1)


def test_a_key_of_a_purchase_is_no_key_for_a_cancellation(client: FlaskClient) -> None:
    order = buy(client, key="k1").json["order"]
    assert_problem(cancel(client, order, key="k1"), 422, "key_reused")
    assert counters(client) == (1, 0, 9, 1)


def test_a_refusal_is_decided_anew_under_the_same_key(client: FlaskClient) -> None:
    order = buy(client, 10).json["order"]
    assert_problem(buy(client, 4, key="k1"), 409, "sold_out")
    cancel(client, order)
    sold = buy(client, 4, key="k1")
    assert sold.status_code == 201
    assert "Idempotency-Replayed" not in sold.headers


def test_the_same_key_buys_once_in_each_event(client: FlaskClient, admin: Headers) -> None:
    make(client, admin)
    assert buy(client, key="k1").status_code == 201
    other = buy(client, key="k1", event="gala")
    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other.headers


def test_a_cancellation_repeated_with_its_key_gets_the_first_answer_again(client: FlaskClient) -> None:
    order = buy(client, 2).json["order"]
    first = cancel(client, order, key="k2")
    buy(client, 1)
    again = cancel(client, order, key="k2")
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert counters(client) == (1, 0, 9, 3)


def test_a_purchase_that_was_cancelled_is_still_answered_as_it_was(client: FlaskClient) -> None:
    first = buy(client, 2, key="k1")
    cancel(client, first.json["order"])
    again = buy(client, 2, key="k1")
    assert again.json == first.json
    assert counters(client) == (0, 0, 10, 2)


# -- the audit --------------------------------------------------------------------------------------------------------


def test_the_audit_is_a_header_and_a_line_for_each_mutation_without_names(client: FlaskClient) -> None:
    order = buy(client, 2, key="k1", buyer="Ada").json["order"]
    cancel(client, order, key="k2")
    answer = client.get("/events/show/audit")
    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    assert audit(client) == [
        {"event": "show", "capacity": 10, "versions": 2},
        {"version": 1, "kind": "sold", "key": "k1", "order": order, "quantity": 2, "tickets": [1, 2]},
        {"version": 2, "kind": "cancelled", "key": "k2", "order": order, "quantity": 2, "tickets": [1, 2]},
    ]
    assert answer.data.endswith(b"\n")
    assert b"Ada" not in answer.data


def test_the_audit_of_an_event_without_sales_is_its_header(client: FlaskClient) -> None:
    assert audit(client) == [{"event": "show", "capacity": 10, "versions": 0}]


def test_refusals_and_replays_leave_no_line(client: FlaskClient) -> None:
    buy(client, 9, key="k1")
    buy(client, 2)
    buy(client, 9, key="k1")
    assert [line["version"] for line in audit(client)[1:]] == [1]


# -- the guard and its switch -----------------------------------------------------------------------------------------


def switch(client: FlaskClient, admin: Headers, guard: str) -> TestResponse:
    return client.put("/guard", json={"guard": guard}, headers=admin)


def test_the_guard_is_told_with_its_epoch_and_those_that_fit(client: FlaskClient) -> None:
    answer = client.get("/guard")
    assert answer.status_code == 200
    assert answer.json == {"guard": "file", "epoch": 1, "guards": ["none", "thread", "file", "leaky"]}


@pytest.mark.parametrize(
    ("wanted", "guard"), [("off", "none"), ("on", "file"), ("none", "none"), ("thread", "thread"), ("file", "file")]
)
def test_the_switch_understands_on_off_and_names(client: FlaskClient, admin: Headers, wanted: str, guard: str) -> None:
    answer = switch(client, admin, wanted)
    assert answer.status_code == 200
    assert answer.json == {"guard": guard, "epoch": 2, "guards": ["none", "thread", "file", "leaky"]}
    assert client.get("/guard").json == answer.json


def test_every_switch_begins_a_new_epoch_and_every_answer_says_which(client: FlaskClient, admin: Headers) -> None:
    for epoch, wanted in enumerate(("off", "off", "on"), start=2):
        assert switch(client, admin, wanted).json["epoch"] == epoch
        assert buy(client).headers["Last-Seat-Epoch"] == str(epoch)
        assert client.get("/events/show").headers["Last-Seat-Epoch"] == str(epoch)
        assert client.get("/events/show").json["epoch"] == epoch


def test_an_unknown_guard_is_refused_with_those_that_there_are(client: FlaskClient, admin: Headers) -> None:
    refused = assert_problem(switch(client, admin, "hope"), 422, "unknown_guard")
    assert refused["guards"] == ["none", "thread", "file", "leaky"]
    assert client.get("/guard").json["epoch"] == 1


def test_a_guard_that_does_not_fit_the_store_is_refused(
    make_client: Callable[..., FlaskClient], admin: Headers
) -> None:
    client = make_client(store="memory")
    assert client.get("/guard").json == {"guard": "thread", "epoch": 1, "guards": ["none", "thread"]}
    refused = assert_problem(switch(client, admin, "file"), 422, "guard_unfit")
    assert refused["guards"] == ["none", "thread"]
    assert client.get("/guard").json["epoch"] == 1


def test_an_unsafe_guard_acts_on_events_of_the_lab_alone(client: FlaskClient, admin: Headers) -> None:
    make(client, admin, "gala")
    make(client, admin, "trial", lab=True)
    switch(client, admin, "none")
    assert client.get("/events/trial").json["guard"] == "none"
    assert client.get("/events/gala").json["guard"] == "file"
    assert {each["event"]: each["guard"] for each in client.get("/events").json["events"]} == {
        "gala": "file",
        "show": "none",
        "trial": "none",
    }


def test_thread_is_safe_enough_for_a_shop_of_one_process(client: FlaskClient, admin: Headers) -> None:
    make(client, admin, "gala")
    switch(client, admin, "thread")
    assert client.get("/events/gala").json["guard"] == "thread"


def test_an_office_opened_again_has_the_next_epoch_the_guard_of_its_settings_and_every_sale(
    make_client: Callable[..., FlaskClient], admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_client()
    buy(before, 2, key="k1")
    switch(before, admin, "off")
    written = before.get("/events/show/audit").data
    # The same process again would be the same master; only its name can tell it apart here.
    monkeypatch.setattr("service.runtime.gunicorn._identity", lambda pid: "another master")
    after = make_client()
    assert after.get("/guard").json["guard"] == "file"
    assert after.get("/guard").json["epoch"] == 3
    assert after.get("/events/show/audit").data == written
    assert buy(after, 2, key="k1").headers["Idempotency-Replayed"] == "true"


# -- what every answer carries ----------------------------------------------------------------------------------------


def test_alive_and_ready_say_so(client: FlaskClient) -> None:
    alive, ready = client.get("/healthz"), client.get("/readyz")
    assert (alive.status_code, alive.json) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json) == (200, {"status": "ready", "store": "json", "guard": "file"})


EVERY_KIND = {
    "the page": ("GET", "/", None, 200),
    "an event": ("GET", "/events/show", None, 200),
    "the events": ("GET", "/events", None, 200),
    "the audit": ("GET", "/events/show/audit", None, 200),
    "the guard": ("GET", "/guard", None, 200),
    "health": ("GET", "/healthz", None, 200),
    "a purchase": ("POST", "/events/show/orders", {"quantity": 1}, 201),
    "a new event": ("POST", "/events", {"event": "gala", "capacity": 1}, 201),
    "a removal": ("DELETE", "/events/show", None, 204),
    "a switch": ("PUT", "/guard", {"guard": "off"}, 200),
    "over the limit": ("POST", "/events/show/orders", {"quantity": 11}, 422),
    "an unknown event": ("GET", "/events/nobody", None, 404),
    "an unknown order": ("DELETE", "/events/show/orders/o404", None, 404),
    "an unknown address": ("GET", "/nowhere", None, 404),
    "a wrong method": ("PUT", "/events/show", None, 405),
    "a wrong content type": ("POST", "/events/show/orders", None, 415),
    "a second event": ("POST", "/events", {"event": "show", "capacity": 1}, 409),
    "a head request": ("HEAD", "/events/show", None, 200),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_answer_says_its_times_its_worker_and_its_epoch(client: FlaskClient, admin: Headers, kind: str) -> None:
    method, path, content, status = EVERY_KIND[kind]
    answer = client.open(path, method=method, json=content, headers=admin)
    assert answer.status_code == status
    assert re.fullmatch(r"wait;dur=\d+\.\d+, hold;dur=\d+\.\d+, store;dur=\d+\.\d+", answer.headers["Server-Timing"])
    assert answer.headers["Last-Seat-Worker"] == str(os.getpid())
    assert answer.headers["Last-Seat-Epoch"] == ("2" if kind == "a switch" else "1")


def test_an_admin_call_without_a_token_carries_them_too(client: FlaskClient) -> None:
    answer = client.put("/guard", json={"guard": "off"})
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert {"Server-Timing", "Last-Seat-Worker", "Last-Seat-Epoch"} <= set(answer.headers.keys())


def test_a_fault_of_our_own_is_a_problem_that_is_not_called_definite_and_shows_no_inside(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret inside")

    monkeypatch.setattr(client.application.extensions["office"], "look", fail)
    answer = client.get("/events/show")
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (500, "internal", False)
    assert {"Server-Timing", "Last-Seat-Worker", "Last-Seat-Epoch"} <= set(answer.headers.keys())
    assert b"secret" not in answer.data
    assert b"Traceback" not in answer.data


def test_a_purchase_says_how_long_the_store_took(client: FlaskClient) -> None:
    timing = buy(client).headers["Server-Timing"]
    assert float(re.search(r"store;dur=([\d.]+)", timing)[1]) > 0  # type: ignore[index]


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
    answer = client.put("/events/show")
    assert_problem(answer, 405, "method_not_allowed")
    assert {"GET", "DELETE"} <= set(answer.headers["Allow"].split(", "))


def test_there_are_only_hooks_that_are_run(client: FlaskClient) -> None:
    """``OfficeApp`` runs those of the whole application, and for the sake of speed looks for no others."""
    assert hooks(client.application) == {("before_request_funcs", None), ("after_request_funcs", None)}


def test_a_hook_that_would_not_be_run_is_noticed(client: FlaskClient) -> None:
    """The negative control."""
    client.application.before_request_funcs["orders"].append(lambda: None)
    assert ("before_request_funcs", "orders") in hooks(client.application)
