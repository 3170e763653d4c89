"""What somebody who can reach the service cannot do. ``docs/security.md`` says which test stands for which claim."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from typed import ADMIN, Typed

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
BUYER = "Ada Lovelace"
ORDERS = "/events/show/orders"


def test_every_test_that_the_document_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", DOCUMENT.read_text())
    there = "\n".join(path.read_text() for path in (DOCUMENT.parents[1] / "tests").rglob("test_*.py"))
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in there] == []


# -- whose data --------------------------------------------------------------------------------------------------------


def test_a_buyers_name_is_in_no_answer_at_all(client: FlaskClient, admin: dict[str, str]) -> None:
    bought = client.post(ORDERS, json={"quantity": 1, "buyer": BUYER}, headers={"Idempotency-Key": "k"})
    order = bought.json["order"]
    hold = client.post("/events/show/holds", json={"quantity": 1, "buyer": BUYER}).json["hold"]
    asked = [
        bought,
        client.post(ORDERS, json={"quantity": 1, "buyer": BUYER}, headers={"Idempotency-Key": "k"}),
        client.get(f"{ORDERS}/{order}"),
        *(client.get(path, headers=admin) for path in ("/events", "/events/show", "/events/show/audit", "/metrics")),
        client.get(f"/?event=show&order={order}"),
        client.post(f"/events/show/holds/{hold}/confirm"),
        client.delete(f"{ORDERS}/{order}"),
    ]
    assert {answer.status_code for answer in asked} == {200, 201}
    assert not any(BUYER.encode() in answer.data for answer in asked)


def test_the_audit_of_a_real_sale_is_the_admins_alone(client: FlaskClient, admin: dict[str, str]) -> None:
    """It has the ids of orders in it: who reads it could cancel them all."""
    client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    order = client.post("/events/gala/orders", json={"quantity": 1}).json["order"]
    refused = client.get("/events/gala/audit")
    assert (refused.status_code, refused.json["code"]) == (401, "unauthorized")
    assert order.encode() not in refused.data
    wrong = client.get("/events/gala/audit", headers={"Authorization": "Bearer no"})
    assert (wrong.status_code, wrong.json["code"]) == (403, "forbidden")
    assert order.encode() in client.get("/events/gala/audit", headers=admin).data


def test_with_what_a_stranger_reads_in_the_audit_of_an_experiment_nothing_can_be_done(
    client: FlaskClient, admin: dict[str, str]
) -> None:
    """The default event is a lab event. A key that is known gives the order's id; an id cancels."""
    key = {"Idempotency-Key": "k"}
    order = client.post(ORDERS, json={"quantity": 1}, headers=key).json["order"]
    client.post("/events/show/holds", json={"quantity": 1})
    whole = [json.loads(line) for line in client.get("/events/show/audit", headers=admin).data.splitlines()]
    assert whole[1]["order"] == order  # the negative control: the admin reads what cancels
    seen = [json.loads(line) for line in client.get("/events/show/audit").data.splitlines()]
    assert seen[0] == whole[0] | {"aliases": True}
    assert [{**line, **seen[place]} for place, line in enumerate(whole)] == seen
    assert not {str(value) for line in seen for value in line.values()} & {
        order,
        "k",
        whole[2]["hold"],
        whole[2]["key"],
    }
    for asked in (
        client.delete(f"{ORDERS}/{seen[1]['order']}"),
        client.delete(f"/events/show/holds/{seen[2]['hold']}"),
        client.get(f"{ORDERS}/{seen[1]['order']}"),
    ):
        assert asked.status_code == 404
    again = client.post(ORDERS, json={"quantity": 1}, headers={"Idempotency-Key": seen[1]["key"]})
    assert again.json["order"] != order
    client.delete(f"{ORDERS}/{order}")
    sold, cancelled = (json.loads(client.get("/events/show/audit").data.splitlines()[place]) for place in (1, 4))
    assert (sold["order"], cancelled["kind"]) == (cancelled["order"], "cancelled")


def test_an_orders_id_cannot_be_guessed(client: FlaskClient) -> None:
    ids = {client.post(ORDERS, json={"quantity": 1}).json["order"] for _ in range(10)}
    assert len(ids) == 10
    assert all(re.fullmatch(r"o[0-9a-f]{16,}", each) for each in ids)


def test_an_order_is_found_under_its_own_event_alone(client: FlaskClient, admin: dict[str, str]) -> None:
    client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    order = client.post(ORDERS, json={"quantity": 1}).json["order"]
    assert client.get(f"/events/gala/orders/{order}").json["code"] == "unknown_order"


# -- other sites -------------------------------------------------------------------------------------------------------

OURS = ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "shop.localhost", "LOCALHOST.", "")
OTHERS = ("rebound.example", "rebound.example:8000", "localhost.rebound.example", "127.0.0.1.rebound.example", "a b")


@pytest.mark.parametrize("host", OURS)
def test_the_service_answers_to_this_machines_names_and_to_addresses(client: FlaskClient, host: str) -> None:
    assert client.get("/events", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/events", ORDERS, "/static/office.css", "/nowhere"])
@pytest.mark.parametrize("host", OTHERS)
def test_a_name_that_was_rebound_to_this_service_gets_nothing(client: FlaskClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert (answer.status_code, answer.json["code"]) == (421, "wrong_host")


def test_a_name_is_answered_to_where_the_settings_list_it(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(hosts=("tickets.example", ".shops.example"))
    for host, status in {
        "tickets.example": 200,
        "a.shops.example:80": 200,
        "shops.example": 200,
        "a.tickets.example": 421,
        "othershops.example": 421,
    }.items():
        assert client.get("/events", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://other.example"},
        {"Origin": "https://localhost:1"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_another_sites_page_changes_nothing(
    client: FlaskClient, admin: dict[str, str], headers: dict[str, str]
) -> None:
    before = client.get("/events").data
    for method, path in (
        ("POST", ORDERS), ("POST", "/events/show/holds"), ("POST", "/events/show/holds/h1/confirm"), ("POST", "/"),
        ("DELETE", "/events/show"), ("PUT", "/guard"),
    ):  # fmt: skip
        answer = client.open(path, method=method, json={"quantity": 1}, headers=headers | admin)
        assert (answer.status_code, answer.json["code"]) == (403, "cross_site"), path
    assert client.get("/events").data == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:8000", "Host": "localhost:8000"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_our_own_page_and_a_program_may_buy(client: FlaskClient, headers: dict[str, str]) -> None:
    """The positive control."""
    assert client.post(ORDERS, json={"quantity": 1}, headers=headers).status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_can_send_without_asking_is_no_purchase(client: FlaskClient, kind: str) -> None:
    answer = client.post(ORDERS, data=json.dumps({"quantity": 1}), content_type=kind)
    assert (answer.status_code, answer.json["code"]) == (415, "wrong_content_type")


def test_no_other_origin_is_ever_allowed_to_read(client: FlaskClient) -> None:
    for path in ("/events", "/events/show/audit", "/guard", "/openapi.json"):
        answer = client.get(path, headers={"Origin": "http://other.example"})
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_runs_nothing_that_is_not_its_own_and_sits_in_no_frame(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.text)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/events", "/nowhere", "/static/office.js", "/metrics", "/events/show/audit"]
)
def test_no_answer_may_be_taken_for_another_type(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if not answer.mimetype.endswith("json"):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_what_an_event_is_called_is_shown_and_never_run(client: FlaskClient, admin: dict[str, str]) -> None:
    name = "<script>alert(1)</script>"
    client.post("/events", json={"event": "gala", "capacity": 5, "name": name}, headers=admin)
    assert name not in client.get("/?event=gala").text
    assert "&lt;script&gt;" in client.get("/?event=gala").text


def test_the_admins_token_is_in_no_answer(client: FlaskClient) -> None:
    token = ADMIN["Authorization"].split()[1]
    for path in ("/", "/docs", "/openapi.json", "/guard", "/readyz", "/metrics"):
        assert token.encode() not in client.get(path, headers=ADMIN).data


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_the_token_that_is_made_is_for_its_owners_eyes_and_differs_each_time(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "other"):
        with Typed("service:app", tmp_path / name, LASTSEAT_ADMIN_TOKEN=""):
            path = tmp_path / name / "data" / "admin-token"
            assert path.stat().st_mode & 0o777 == 0o600
            tokens.append(path.read_text().strip())
    assert len(set(tokens)) == 2
    assert all(len(each) >= 32 for each in tokens)


# -- reads -------------------------------------------------------------------------------------------------------------


def test_an_event_is_not_sent_again_until_it_has_changed(client: FlaskClient, admin: dict[str, str]) -> None:
    tag = client.get("/events/show").headers["ETag"]
    unchanged = client.get("/events/show", headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", tag)
    client.post(ORDERS, json={"quantity": 1})
    changed = client.get("/events/show", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    tag = changed.headers["ETag"]
    client.put("/guard", json={"guard": "off"}, headers=admin)
    assert client.get("/events/show", headers={"If-None-Match": tag}).json["guard"] == "none"


def test_an_event_made_anew_under_the_same_id_is_another_one(client: FlaskClient, admin: dict[str, str]) -> None:
    def make(capacity: int) -> str:
        client.post("/events", json={"event": "gala", "capacity": capacity}, headers=admin)
        return str(client.get("/events/gala").headers["ETag"])

    first = make(5)
    client.delete("/events/gala", headers=admin)
    assert make(6) != first


def test_events_come_a_page_at_a_time_each_once_and_only_those_are_read(
    client: FlaskClient, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c", "d"):
        client.post("/events", json={"event": name, "capacity": 1}, headers=admin)
    store = client.application.extensions["office"].store
    read: list[str] = []
    view = store.view
    monkeypatch.setattr(store, "view", lambda event, *more, **named: read.append(event) or view(event, *more, **named))
    found, address = [], "/events?limit=2"
    while address:
        read.clear()
        page = client.get(address)
        found += [each["event"] for each in page.json["events"]]
        assert read == [each["event"] for each in page.json["events"]]
        address = page.json["next"]
        assert page.headers.get("Link") == (f'<{address}>; rel="next"' if address else None)
    assert found == ["a", "b", "c", "d", "show"]


def test_an_event_removed_between_two_pages_hides_no_other_one(client: FlaskClient, admin: dict[str, str]) -> None:
    for name in ("a", "b", "c"):
        client.post("/events", json={"event": name, "capacity": 1}, headers=admin)
    following = client.get("/events?limit=2").json["next"]
    client.delete("/events/b", headers=admin)
    assert [each["event"] for each in client.get(following).json["events"]] == ["c", "show"]


def test_doors_that_are_closed_say_so_with_the_seconds_to_wait(client: FlaskClient, admin: dict[str, str]) -> None:
    opens_at = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    client.post("/events", json={"event": "gala", "capacity": 1, "opens_at": opens_at}, headers=admin)
    assert 55 <= int(client.post("/events/gala/orders", json={"quantity": 1}).headers["Retry-After"]) <= 61
