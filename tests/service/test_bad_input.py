"""Bad input: each kind is a problem that names itself, nothing is written, and no inside is shown.

One table, sent to an office in this process and to a real gunicorn. What gunicorn answers by itself (a request line
that is too long, a header that is none) is not in the table: there, any 4xx will do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typed
from typed import ADMIN, JSON, TOKEN, Answer, Typed

from service.app import create_app
from service.settings import Settings

Send = Callable[[str, str, Mapping[str, str], bytes | None], Answer]

ORDERS = "/events/show/orders"
HOLDS = "/events/show/holds"
MANY = 10_000
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Bad:
    """A request that cannot be accepted, and what it gets."""

    status: int
    code: str
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def order(status: int, code: str, body: bytes | None, headers: Mapping[str, str] = JSON, path: str = ORDERS) -> Bad:
    return Bad(status, code, "POST", path, body, headers)


def quantity(value: str) -> Bad:
    return order(422, "invalid_value", b'{"quantity":%b}' % value.encode())


def event(status: int = 422, code: str = "invalid_value", **fields: Any) -> Bad:
    whole = {"event": "gala", "capacity": 5} | fields
    return Bad(status, code, "POST", "/events", json.dumps(whole).encode(), ADMIN | JSON)


def guard(status: int, code: str, body: bytes | None, headers: Mapping[str, str] = ADMIN | JSON) -> Bad:
    return Bad(status, code, "PUT", "/guard", body, headers)


def hold(status: int, code: str, body: bytes | None, headers: Mapping[str, str] = JSON, path: str = HOLDS) -> Bad:
    return Bad(status, code, "POST", path, body, headers)


def seconds(value: str, status: int = 422, code: str = "invalid_value") -> Bad:
    return hold(status, code, b'{"quantity":1,"seconds":%b}' % value.encode())


def confirm(status: int, code: str, path: str, headers: Mapping[str, str] = JSON) -> Bad:
    return Bad(status, code, "POST", path, None, headers)


def button(status: int, code: str, body: bytes) -> Bad:
    return Bad(status, code, "POST", "/", body, {"Content-Type": FORM})


def keyed(status: int, code: str, key: str, body: bytes = b'{"quantity":1}') -> Bad:
    return order(status, code, body, JSON | {"Idempotency-Key": key})


def authorization(value: str) -> dict[str, str]:
    return {"Authorization": value}


GOOD = b'{"quantity":1}'
NEW_EVENT = b'{"event":"gala","capacity":5}'
SWITCH = b'{"guard":"off"}'
WRONG = authorization("Bearer no")
LONG = b'{"quantity":1,"buyer":"%b"}' % (b"x" * 64 * 1024)

BAD: dict[str, Bad] = {
    "a purchase from an unknown event": order(404, "unknown_event", GOOD, path="/events/nobody/orders"),
    "a look at an unknown event": Bad(404, "unknown_event", "GET", "/events/nobody"),
    "the audit of an unknown event": Bad(404, "unknown_event", "GET", "/events/nobody/audit"),
    "a removal of an unknown event": Bad(404, "unknown_event", "DELETE", "/events/nobody", headers=ADMIN),
    "a cancellation in an unknown event": Bad(404, "unknown_event", "DELETE", "/events/nobody/orders/o1"),
    "a cancellation of an unknown order": Bad(404, "unknown_order", "DELETE", f"{ORDERS}/o404"),
    "a look at an unknown order": Bad(404, "unknown_order", "GET", f"{ORDERS}/o404"),
    "an order id of a NUL": Bad(404, "unknown_order", "DELETE", f"{ORDERS}/%00"),
    "an order id that climbs": Bad(404, "not_found", "DELETE", f"{ORDERS}/..%2f..%2fetc"),
    "quantity zero": quantity("0"),
    "quantity negative": quantity("-1"),
    "quantity over the limit": order(422, "over_limit", b'{"quantity":11}'),
    "quantity far over the limit": quantity("1000001"),
    "quantity a float": quantity("1.5"),
    "quantity a whole float": quantity("1.0"),
    "quantity with an exponent": quantity("1e0"),
    "quantity a string": quantity('"2"'),
    "quantity true": quantity("true"),
    "quantity null": quantity("null"),
    "quantity a list": quantity("[1]"),
    "quantity ten to the thirty": quantity("1" + "0" * 30),
    "quantity of four thousand digits": quantity("9" * 4000),
    "quantity not a number": order(400, "not_json", b'{"quantity":NaN}'),
    "quantity missing": order(422, "invalid_value", b"{}"),
    "the body missing": order(400, "not_json", None),
    "the body and its type missing": order(415, "wrong_content_type", None, {}),
    "the body blank": order(400, "not_json", b"  \n"),
    "the body broken": order(400, "not_json", b'{"quantity":'),
    "the body with something behind it": order(400, "not_json", b'{"quantity":1}}'),
    "the body a list": order(422, "invalid_value", b"[1]"),
    "the body null": order(422, "invalid_value", b"null"),
    "the body a form": order(415, "wrong_content_type", b"quantity=1", {"Content-Type": FORM}),
    "the body as text": order(415, "wrong_content_type", GOOD, {"Content-Type": "text/plain"}),
    "the body of no type": order(415, "wrong_content_type", GOOD, {"Content-Type": ""}),
    "the body one byte over 64 KiB": order(413, "too_large", GOOD.ljust(64 * 1024 + 1)),
    "the body well over 64 KiB": order(413, "too_large", LONG),
    "the body said to be packed": order(415, "wrong_content_type", GOOD, JSON | {"Content-Encoding": "gzip"}),
    "the body nested deeply": order(422, "invalid_value", b'{"quantity":1,"buyer":' + b"[" * 30_000),
    "the body a deep list": order(422, "invalid_value", b"[" * 30_000 + b"]" * 30_000),
    "the body nested deeply anywhere": order(422, "invalid_value", b'{"x":' * 9_000 + b"1" + b"}" * 9_000),
    "the body no UTF-8": order(400, "not_json", b'{"quantity":1,"buyer":"\xff\xfe"}'),
    "the body in UTF-16": order(400, "not_json", '{"quantity":1}'.encode("utf-16")),
    "half a surrogate pair": order(400, "not_json", b'{"quantity":1,"buyer":"\\ud800"}'),
    "a field that nobody knows": order(422, "invalid_value", b'{"quantity":1,"price":0}'),
    "a buyer without a name": order(422, "invalid_value", b'{"quantity":1,"buyer":""}'),
    "a buyer of 201 characters": order(422, "invalid_value", b'{"quantity":1,"buyer":"%b"}' % (b"x" * 201)),
    "a buyer who is a number": order(422, "invalid_value", b'{"quantity":1,"buyer":7}'),
    "an address with a slash in the event": order(404, "not_found", GOOD, path="/events/a/b/orders"),
    "an address with an encoded slash": order(404, "not_found", GOOD, path="/events/a%2fb/orders"),
    "an address with two slashes": order(404, "not_found", GOOD, path="/events//show/orders"),
    "an address that climbs": order(404, "not_found", GOOD, path="/events/..%2f..%2fguard.json/orders"),
    "an address of dots": order(404, "unknown_event", GOOD, path="/events/../orders"),
    "an address of encoded dots": Bad(404, "unknown_event", "GET", "/events/%2e%2e"),
    "an address with a dot": order(404, "unknown_event", GOOD, path="/events/show.json/orders"),
    "an address with a NUL": order(404, "unknown_event", GOOD, path="/events/show%00/orders"),
    "an address that is no UTF-8": order(404, "unknown_event", GOOD, path="/events/%ff%fe/orders"),
    "an address in capitals": order(404, "unknown_event", GOOD, path="/events/SHOW/orders"),
    "an address with a line break": order(404, "unknown_event", GOOD, path="/events/show%0a/orders"),
    "an event id of 3,000 characters in the address": Bad(404, "unknown_event", "GET", "/events/" + "a" * 3000),
    "an event with a slash": event(event="a/b"),
    "an event that climbs": event(event="../gala"),
    "an event of dots": event(event=".."),
    "an event with a dot": event(event="gala.json"),
    "an event with a NUL": event(event="gala\0"),
    "an event with a line break": event(event="gala\n"),
    "an event with a blank": event(event=" gala"),
    "an event in capitals": event(event="Gala"),
    "an event with a letter of another script": event(event="gаla"),
    "an event without an id": event(event=""),
    "an event of 65 characters": event(event="a" * 65),
    "an event of 10,000 characters": event(event="a" * MANY),
    "an event that is a number": event(event=7),
    "an event that there is": event(409, "event_exists", event="show", capacity=99),
    "a name of no characters": event(name=""),
    "a name of 10,000 characters": event(name="a" * MANY),
    "capacity zero": event(capacity=0),
    "capacity negative": event(capacity=-5),
    "capacity a float": event(capacity=5.5),
    "capacity a string": event(capacity="5"),
    "capacity true": event(capacity=True),
    "capacity ten to the thirty": event(capacity=10**30),
    "capacity null": event(capacity=None),
    "an opening without a time zone": event(opens_at="2026-01-01T00:00:00"),
    "an opening in no calendar": event(opens_at="2026-02-30T00:00:00Z"),
    "an opening that is no time": event(opens_at="soon"),
    "an order limit of zero": event(max_per_order=0),
    "a buyer limit of zero": event(max_per_buyer=0),
    "a limit of holds of zero": event(max_held=0),
    "a longest hold of nothing": event(max_hold_s=0),
    "a longest hold over an hour": event(max_hold_s=3601),
    "a longest hold in words": event(max_hold_s="long"),
    "a lab event in words": event(lab="yes"),
    "an event field that nobody knows": event(price=3),
    "an unknown guard": guard(422, "unknown_guard", b'{"guard":"hope"}'),
    "a guard without a name": guard(422, "unknown_guard", b'{"guard":""}'),
    "a guard with a path": guard(422, "unknown_guard", b'{"guard":"../none"}'),
    "a guard of 10,000 characters": guard(422, "invalid_value", b'{"guard":"%b"}' % (b"x" * MANY)),
    "a guard that is true": guard(422, "invalid_value", b'{"guard":true}'),
    "a switch without a body": guard(400, "not_json", None),
    "a switch as text": guard(415, "wrong_content_type", b"off", ADMIN | {"Content-Type": "text/plain"}),
    "a new event without a token": Bad(401, "unauthorized", "POST", "/events", NEW_EVENT, JSON),
    "a new event with a wrong token": Bad(403, "forbidden", "POST", "/events", NEW_EVENT, JSON | WRONG),
    "a removal without a token": Bad(401, "unauthorized", "DELETE", "/events/show"),
    "a removal with a wrong token": Bad(403, "forbidden", "DELETE", "/events/show", headers=WRONG),
    "a switch without a token": guard(401, "unauthorized", SWITCH, JSON),
    "a switch with a wrong token": guard(403, "forbidden", SWITCH, JSON | WRONG),
    "a switch with an empty token": guard(401, "unauthorized", SWITCH, JSON | authorization("Bearer ")),
    "a switch with a password": guard(401, "unauthorized", SWITCH, JSON | authorization(f"Basic {TOKEN}")),
    "a switch with half a token": guard(403, "forbidden", SWITCH, JSON | authorization(f"Bearer {TOKEN[:4]}")),
    "a switch with a token of other letters": guard(403, "forbidden", SWITCH, JSON | authorization("Bearer \xe9\xff")),
    "a key of 201 characters": keyed(422, "invalid_value", "k" * 201),
    "a key of no characters": keyed(422, "invalid_value", ""),
    "a key of two quotes": keyed(422, "invalid_value", '""'),
    "a key that is not ASCII": keyed(422, "invalid_value", "caf\xe9"),
    "a key with a tab inside": keyed(422, "invalid_value", "a\tb"),
    "a key that was used for another payload": keyed(422, "key_reused", "taken", b'{"quantity":2}'),
    "a host that is not ours": order(421, "wrong_host", GOOD, JSON | {"Host": "rebound.example"}),
    "a purchase from another site's page": order(403, "cross_site", GOOD, JSON | {"Sec-Fetch-Site": "cross-site"}),
    "a purchase from another origin": order(403, "cross_site", GOOD, JSON | {"Origin": "http://other.example"}),
    "a purchase from an origin that is hidden": order(403, "cross_site", GOOD, JSON | {"Origin": "null"}),
    "a button that there is not": button(400, "bad_request", b"event=show&do=frobnicate"),
    "no button": button(400, "bad_request", b"event=show"),
    "a button, and a number below nothing": button(422, "invalid_value", b"event=show&do=buy&quantity=-1"),
    "a button, and digits of another script": button(422, "invalid_value", "event=show&do=buy&quantity=٣".encode()),
    "a button, and a name of 201 characters": button(422, "invalid_value", b"event=show&do=buy&buyer=" + b"x" * 201),
    "a button, and 10000 digits": button(422, "invalid_value", b"event=show&do=buy&quantity=" + b"9" * MANY),
    "a form of another site": Bad(403, "cross_site", "POST", "/", b"do=buy", {"Content-Type": FORM, "Origin": "null"}),
    "a page of no events": Bad(422, "invalid_value", "GET", "/events?limit=0"),
    "a page of too many events": Bad(422, "invalid_value", "GET", "/events?limit=101"),
    "a page of some events": Bad(422, "invalid_value", "GET", "/events?limit=some"),
    "a page asked for twice": Bad(422, "invalid_value", "GET", "/events?limit=1&limit=2"),
    "a cursor that no event can have": Bad(422, "invalid_value", "GET", "/events?cursor=..%2Fx"),
    "a hold in an unknown event": hold(404, "unknown_event", GOOD, path="/events/nobody/holds"),
    "a hold of zero tickets": hold(422, "invalid_value", b'{"quantity":0}'),
    "a hold of half a ticket": hold(422, "invalid_value", b'{"quantity":0.5}'),
    "a hold over the limit of an order": hold(422, "over_limit", b'{"quantity":11}'),
    "a hold of far too many": hold(422, "invalid_value", b'{"quantity":1000001}'),
    "a hold without a quantity": hold(422, "invalid_value", b'{"seconds":5}'),
    "a hold with a field that nobody knows": hold(422, "invalid_value", b'{"quantity":1,"expires_at":"2099-01-01"}'),
    "a hold for a buyer without a name": hold(422, "invalid_value", b'{"quantity":1,"buyer":""}'),
    "a hold without a body": hold(400, "not_json", None),
    "a hold as a form": hold(415, "wrong_content_type", b"quantity=1", {"Content-Type": FORM}),
    "a hold that is broken JSON": hold(400, "not_json", b'{"quantity":1,'),
    "a hold of 64 KiB": hold(413, "too_large", LONG),
    "a hold for no time": seconds("0"),
    "a hold for less than a millisecond": seconds("0.0009"),
    "a hold for less than no time": seconds("-5"),
    "a hold for over an hour": seconds("3600.001"),
    "a hold for ever": seconds("1e308"),
    "a hold beyond all numbers": seconds("1e999"),
    "a hold for no number of seconds": seconds("NaN", 400, "not_json"),
    "a hold for infinitely long": seconds("Infinity", 400, "not_json"),
    "a hold for a while": seconds('"a while"'),
    "a hold for true seconds": seconds("true"),
    "a hold for null seconds": seconds("null"),
    "a hold under a key that bought": hold(422, "key_reused", GOOD, JSON | {"Idempotency-Key": "taken"}),
    "a hold under an empty key": hold(422, "invalid_value", GOOD, JSON | {"Idempotency-Key": ""}),
    "a confirmation of an unknown hold": confirm(404, "unknown_hold", f"{HOLDS}/h404/confirm"),
    "a confirmation of a NUL": confirm(404, "unknown_hold", f"{HOLDS}/%00/confirm"),
    "a confirmation of 3,000 characters": confirm(404, "unknown_hold", f"{HOLDS}/{'h' * 3000}/confirm"),
    "a confirmation that climbs": confirm(404, "not_found", f"{HOLDS}/..%2f..%2fguard/confirm"),
    "a confirmation of nothing": confirm(404, "not_found", f"{HOLDS}//confirm"),
    "a confirmation in an unknown event": confirm(404, "unknown_event", "/events/nobody/holds/h1/confirm"),
    "a confirmation under a key that bought": confirm(
        422, "key_reused", f"{HOLDS}/h404/confirm", JSON | {"Idempotency-Key": "taken"}
    ),
    "a confirmation under a key of 201 characters": confirm(
        422, "invalid_value", f"{HOLDS}/h404/confirm", JSON | {"Idempotency-Key": "k" * 201}
    ),
    "a confirmation from another site's page": confirm(
        403, "cross_site", f"{HOLDS}/h404/confirm", JSON | {"Sec-Fetch-Site": "cross-site"}
    ),
    "a confirmation asked for with GET": Bad(405, "method_not_allowed", "GET", f"{HOLDS}/h404/confirm"),
    "a release of an unknown hold": Bad(404, "unknown_hold", "DELETE", f"{HOLDS}/h404"),
    "a release in an unknown event": Bad(404, "unknown_event", "DELETE", "/events/nobody/holds/h1"),
    "a release under a key that bought": Bad(
        422, "key_reused", "DELETE", f"{HOLDS}/h404", headers={"Idempotency-Key": "taken"}
    ),
    "a look at all holds": Bad(405, "method_not_allowed", "GET", HOLDS),
    "a look at a hold": Bad(405, "method_not_allowed", "GET", f"{HOLDS}/h404"),
    "a method that is none here": Bad(405, "method_not_allowed", "PUT", ORDERS, GOOD, JSON),
    "an address that is none": Bad(404, "not_found", "GET", "/etc/passwd"),
}  # fmt: skip


class Office:
    """An office that sold one ticket, and everything by which one could see that something was written."""

    def __init__(self, data: Path, send: Send) -> None:
        self._data = data
        self.send = send
        sold = send("POST", ORDERS, JSON | {"Idempotency-Key": "taken"}, GOOD)
        assert sold.status == 201, sold

    def witness(self) -> dict[str, object]:
        asked = {path: self.send("GET", path, {}, None).content for path in ("/events", "/events/show/audit", "/guard")}
        counted = self._data / "metrics"  # refusals are counted
        files = {
            str(path): path.read_bytes()
            for path in self._data.rglob("*")
            if path.is_file() and counted not in path.parents
        }
        return asked | files


def _in_process(folder: Path) -> Iterator[Office]:
    client = create_app(Settings(data=folder / "data", admin_token=TOKEN, first_event=("show", 100))).test_client()

    def send(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        answer = client.open(path, method=method, headers=dict(headers), data=body)
        return Answer(answer.status_code, answer.headers, answer.data)

    yield Office(folder / "data", send)


def _under_gunicorn(folder: Path) -> Iterator[Office]:
    with Typed("-k gthread --threads 4 service:app", folder / "office") as server:

        def send(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
            return typed.send(server.port, method, path, body, headers)

        yield Office(server.data, send)
        assert "Traceback" not in server.said


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(_in_process, id="in process"),
        pytest.param(_under_gunicorn, id="under gunicorn", marks=pytest.mark.servers),
    ],
)
def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    yield from request.param(tmp_path_factory.mktemp("bad-input"))


@pytest.mark.parametrize("claim", BAD)
def test_it_is_refused_definitely_and_nothing_is_written(office: Office, claim: str) -> None:
    bad = BAD[claim]
    before = office.witness()
    answer = office.send(bad.method, bad.path, bad.headers, bad.body)
    assert (answer.status, answer.code) == (bad.status, bad.code), answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["definite"] is True
    assert answer.json["status"] == bad.status
    assert answer.json["title"]
    assert b"Traceback" not in answer.content
    assert office.witness() == before


def test_what_is_just_allowed_is_sold(office: Office) -> None:
    """The positive control: the limits of the table are where they are said to be."""
    body = b'{"quantity":10,"buyer":"%b"}' % (b"x" * 200)
    headers = JSON | {"Idempotency-Key": "k" * 200}
    answer = office.send("POST", ORDERS, headers, body.ljust(64 * 1024))
    assert answer.status == 201, answer
    assert office.send("DELETE", f"{ORDERS}/{answer.json['order']}", {}, None).status == 200


def test_an_event_id_of_10000_characters_in_the_address_is_unknown(tmp_path: Path) -> None:
    office = next(_in_process(tmp_path))
    answer = office.send("POST", f"/events/{'a' * MANY}/orders", JSON, GOOD)
    assert (answer.status, answer.code, answer.json["definite"]) == (404, "unknown_event", True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    """A process of its own kind: a memory store, and the sync worker."""
    with Typed("service:app", tmp_path_factory.mktemp("raw") / "office", LASTSEAT_STORE="memory") as server:
        yield server
        assert "Traceback" not in server.said


@pytest.mark.servers
def test_a_guard_that_does_not_fit_the_store_is_refused_and_the_guard_unchanged(server: Typed) -> None:
    answer = server.call("PUT", "/guard", {"guard": "file"})
    assert (answer.status, answer.code, answer.json["definite"]) == (422, "guard_unfit", True)
    assert server.call("GET", "/guard").json == {"guard": "thread", "epoch": 1, "guards": ["none", "thread"]}


def head(start: str, *headers: str) -> bytes:
    lines = (start, "Host: localhost", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


TYPE = "Content-Type: application/json"
ORDER = f"POST {ORDERS} HTTP/1.1"

PAGE, FORMED, BUTTON = "POST / HTTP/1.1", f"Content-Type: {FORM}", b"event=show&do=buy&quantity=1"
MOST = 64 * 1024

RAW: dict[str, bytes] = {
    "an event id of 10,000 characters": head(f"POST /events/{'a' * MANY}/orders HTTP/1.1", TYPE, "Content-Length: 14")
    + GOOD,
    "a request line of 10,000 dots": head(f"GET /events/{'../' * 3000} HTTP/1.1"),
    "a NUL in the request line": head("GET /events/show\0 HTTP/1.1"),
    "a NUL in the key": head(ORDER, TYPE, "Idempotency-Key: a\0b", "Content-Length: 14") + GOOD,
    "a header of 10,000 characters": head(ORDER, TYPE, f"Idempotency-Key: {'k' * MANY}", "Content-Length: 14") + GOOD,
    "a body shorter than announced": head(ORDER, TYPE, "Content-Length: 15") + GOOD,
    "a body that never comes": head(ORDER, TYPE, "Content-Length: 14"),
    "a negative length": head(ORDER, TYPE, "Content-Length: -14") + GOOD,
    "two lengths": head(ORDER, TYPE, "Content-Length: 14", "Content-Length: 15") + GOOD,
    "a length and chunks": head(ORDER, TYPE, "Content-Length: 14", "Transfer-Encoding: chunked") + GOOD,
    "a chunk that is none": head(ORDER, TYPE, "Transfer-Encoding: chunked") + b"zz\r\n" + GOOD,
    "chunks that break off": head(ORDER, TYPE, "Transfer-Encoding: chunked") + b"e\r\n" + GOOD[:5],
    "chunks of more than 64 KiB": head(ORDER, TYPE, "Transfer-Encoding: chunked")
    + b"".join(b"4000\r\n%b\r\n" % (b" " * 0x4000) for _ in range(5))
    + b"e\r\n%b\r\n0\r\n\r\n" % GOOD,
    "a form shorter than announced": head(PAGE, FORMED, f"Content-Length: {len(BUTTON) + 1}") + BUTTON,
    "no HTTP at all": b"buy one ticket please\r\n\r\n",
}


@pytest.mark.servers
@pytest.mark.parametrize("claim", RAW)
def test_a_broken_request_gets_a_4xx_without_any_inside_and_nothing_is_written(server: Typed, claim: str) -> None:
    before = server.audit(), server.call("GET", "/events").content
    answered = typed.send_raw(server.port, RAW[claim])
    assert answered.startswith(b"HTTP/1.1 4"), answered[:200]
    assert b"Traceback" not in answered
    assert (server.audit(), server.call("GET", "/events").content) == before


def chunked(start: str, kind: str, body: bytes) -> bytes:
    chunks = (body[at : at + 0x4000] for at in range(0, len(body), 0x4000))
    told = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head(start, kind, "Transfer-Encoding: chunked") + told + b"0\r\n\r\n"


CUT_SHORT_IT_WOULD_SELL = {
    "JSON with a second value behind 64 KiB": chunked(ORDER, TYPE, GOOD.ljust(MOST) + GOOD.ljust(110_000)),
    "JSON with one byte behind 64 KiB": chunked(ORDER, TYPE, GOOD.ljust(MOST) + b" "),
    "a form with a field behind 64 KiB": chunked(PAGE, FORMED, b"%b&x=%b" % (BUTTON, b"x" * 170_000)),
    "a form of a length over 64 KiB": head(PAGE, FORMED, "Content-Length: 65537")
    + (BUTTON + b"&x=").ljust(65537, b"x"),
}


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["sync", "gthread --threads 2", "gevent"])
def test_nothing_is_decided_on_a_body_that_was_cut_at_its_limit(worker: str, tmp_path: Path) -> None:
    with Typed(f"-k {worker} service:app", tmp_path / "office", LASTSEAT_STORE="memory") as server:
        whole = server.audit()
        for claim, request in CUT_SHORT_IT_WOULD_SELL.items():
            answered = typed.send_raw(server.port, request)
            assert answered.startswith(b"HTTP/1.1 413"), (claim, answered[:200])
            assert b'"code":"too_large"' in answered, claim
            assert b'"definite":true' in answered, claim
        assert server.audit() == whole
        assert typed.send_raw(server.port, chunked(ORDER, TYPE, GOOD.ljust(MOST))).startswith(b"HTTP/1.1 201")


@pytest.mark.servers
def test_the_raw_requests_would_buy_if_nothing_were_wrong_with_them(server: Typed) -> None:
    """The positive control; last, for it sells."""
    whole = head(ORDER, TYPE, "Transfer-Encoding: chunked") + b"e\r\n%b\r\n0\r\n\r\n" % GOOD
    for request in (whole, head(ORDER, TYPE, "Content-Length: 14") + GOOD):
        assert typed.send_raw(server.port, request).startswith(b"HTTP/1.1 201")
