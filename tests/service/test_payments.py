"""Payment as a seam: the signed word of a provider makes an order of a hold, by the rules of holds and by no other.

The signatures are made here from what docs/service.md says of them, and not by the office's own code.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from typed import ADMIN, CHECKOUT, Typed, as_admin
from werkzeug.test import TestResponse

from service.errors import RefusedToStart
from service.settings import from_environment
from service.stores import STORES

SECRET = "the-secret-of-the-tests-0123456789"
PAGE = "https://pay.example/shop"
START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def signature(message: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Till:
    """An office with a provider, the event ``gala`` of four tickets, and a clock that stands until it is moved."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.now = START
        client.application.extensions["office"].clock = lambda: self.now
        assert (
            client.post("/events", json={"event": "gala", "capacity": 4}, headers=as_admin(client)).status_code == 201
        )

    def hold(self, quantity: int = 1, event: str = "gala") -> str:
        answer = self.client.post(f"/events/{event}/holds", json={"quantity": quantity, "seconds": 60})
        assert answer.status_code == 201, answer.data
        return str(answer.json["hold"])

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def tell(
        self,
        hold: str,
        status: str = "paid",
        payment: str = "p1",
        *,
        event: str = "gala",
        signed_hold: str = "",
        signed_event: str = "gala",
        signed_body: bytes = b"",
        secret: str = SECRET,
        at: float | None = None,
    ) -> TestResponse:
        """The provider's call-back; what it signs can be another thing than what it sends."""
        body = json.dumps({"payment": payment, "status": status}).encode()
        seconds = int(time.time() if at is None else at)
        message = f"{seconds}.{signed_event}.{signed_hold or hold}.".encode() + (signed_body or body)
        return self.send(event, hold, body, {"Last-Seat-Signature": f"{seconds}.{signature(message, secret)}"})

    def send(self, event: str, hold: str, body: bytes, headers: dict[str, str]) -> TestResponse:
        address = f"/events/{event}/holds/{hold}/paid"
        return self.client.post(address, data=body, headers={"Content-Type": "application/json"} | headers)

    def counters(self) -> tuple[int, int, int]:
        found = self.client.get("/events/gala").json
        return found["sold"], found["held"], found["version"]

    def audit(self) -> list[dict[str, Any]]:
        answer = self.client.get("/events/gala/audit", headers=as_admin(self.client))
        return [json.loads(line) for line in answer.data.splitlines()[1:]]

    def page(self, hold: str, **more: str) -> str:
        return self.client.get("/", query_string={"event": "gala", "hold": hold} | more).text


@pytest.fixture
def till(make_client: Callable[..., FlaskClient]) -> Till:
    return Till(make_client(pay_url=PAGE, pay_secret=SECRET))


@pytest.fixture(params=list(STORES))
def any_till(request: pytest.FixtureRequest, make_client: Callable[..., FlaskClient]) -> Till:
    return Till(make_client(pay_url=PAGE, pay_secret=SECRET, store=request.param))


def refused(answer: TestResponse) -> tuple[int, str]:
    assert answer.json["definite"] is True, answer.data
    return answer.status_code, answer.json["code"]


def owed(answer: TestResponse) -> tuple[int, str]:
    assert answer.json["give_back"] is True, answer.data
    return refused(answer)


# -- who may say that it was paid


def test_without_a_signature_or_with_a_wrong_one_nothing_is_written(till: Till) -> None:
    hold, other = till.hold(), till.hold()
    body = b'{"payment":"p1","status":"paid"}'
    before = till.counters()
    assert refused(till.send("gala", hold, body, {})) == (403, "wrong_signature")
    assert refused(till.send("gala", hold, body, ADMIN)) == (403, "wrong_signature")
    for nonsense in ("x", ".", "0.0", f"{int(time.time())}.", f"{int(time.time())}.caf\xe9", "9" * 5000 + ".0"):
        assert refused(till.send("gala", hold, body, {"Last-Seat-Signature": nonsense})) == (403, "wrong_signature")
    for wrong in (
        {"secret": "another-secret-0123456789-0123456789"},
        {"signed_hold": other},
        {"signed_event": "show"},
        {"signed_body": b'{"payment": "p1", "status": "refused"}'},
        {"signed_body": b'{"payment": "p2", "status": "paid"}'},
        {"at": time.time() - 3600},
        {"at": time.time() + 3600},
    ):
        assert refused(till.tell(hold, **wrong)) == (403, "wrong_signature"), wrong  # type: ignore[arg-type]
    assert till.counters() == before
    assert till.tell(hold).status_code == 201


def test_a_signature_of_the_page_is_none_of_a_payment(till: Till) -> None:
    """What the office signs for the buyer's browser, the buyer has."""
    hold = till.hold()
    address = unescape(re.findall(r'href="(https://pay\.example[^"]*)"', till.page(hold))[0])
    signed = parse_qs(urlsplit(address).query)["signature"][0]
    before = till.counters()
    answer = till.send("gala", hold, b'{"payment":"p1","status":"paid"}', {"Last-Seat-Signature": f"pay.{signed}"})
    assert refused(answer) == (403, "wrong_signature")
    assert till.counters() == before


def test_an_office_without_a_provider_has_no_such_address(make_client: Callable[..., FlaskClient]) -> None:
    till = Till(make_client())
    assert refused(till.tell(till.hold())) == (404, "not_found")


@pytest.mark.parametrize(
    "body", [b"{}", b"[", b'{"payment":"p 1","status":"paid"}', b'{"payment":"","status":"paid"}',
             b'{"payment":"p1","status":"pending"}', b'{"payment":"p1","status":"paid","more":1}'],
)  # fmt: skip
def test_what_is_signed_and_cannot_be_meant_is_refused(till: Till, body: bytes) -> None:
    hold, seconds = till.hold(), int(time.time())
    signed = {"Last-Seat-Signature": f"{seconds}.{signature(f'{seconds}.gala.{hold}.'.encode() + body)}"}
    answer = till.send("gala", hold, body, signed)
    assert refused(answer)[1] in ("invalid_value", "not_json")
    assert "give_back" not in answer.json
    assert till.counters() == (0, 1, 1)


# -- by the rules of holds


def test_held_and_paid_is_sold_and_the_same_payment_told_again_is_the_same_order(any_till: Till) -> None:
    hold = any_till.hold(2)
    first, again = any_till.tell(hold), any_till.tell(hold, at=time.time() - 5)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json["tickets"] == [1, 2]
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert any_till.counters() == (2, 0, 2)
    [_, confirmed] = any_till.audit()
    assert confirmed["kind"] == "confirmed"
    assert "p1" in confirmed["key"]


def test_a_second_payment_of_a_hold_is_to_be_given_back(any_till: Till) -> None:
    hold = any_till.hold()
    assert any_till.tell(hold).status_code == 201
    assert owed(any_till.tell(hold, payment="p2")) == (409, "not_open")
    assert any_till.tell(hold).status_code == 201
    assert any_till.counters() == (1, 0, 2)


def test_paid_late_it_is_sold_anew_where_places_are_left(any_till: Till) -> None:
    hold = any_till.hold(2)
    any_till.passes(61)
    answer = any_till.tell(hold)
    assert (answer.status_code, answer.json["tickets"]) == (201, [3, 4])
    assert answer.json == any_till.tell(hold).json
    assert [each["kind"] for each in any_till.audit()] == ["held", "expired", "sold"]


def test_paid_when_the_places_are_gone_it_is_to_be_given_back(any_till: Till) -> None:
    hold = any_till.hold(2)
    any_till.passes(61)
    other = any_till.hold(3)
    assert any_till.tell(other, payment="p2").status_code == 201
    assert owed(any_till.tell(hold)) == (409, "hold_expired")
    assert any_till.counters()[:2] == (3, 0)


def test_what_was_given_back_cannot_be_sold_by_an_old_message(till: Till) -> None:
    hold = till.hold(2)
    till.passes(61)
    other = till.tell(till.hold(3), payment="p2").json["order"]
    assert owed(till.tell(hold)) == (409, "hold_expired")
    assert till.client.delete(f"/events/gala/orders/{other}").status_code == 200
    assert refused(till.tell(hold, at=time.time() - 301)) == (403, "wrong_signature")
    assert till.counters()[:2] == (0, 0)


def test_refused_its_places_are_free_and_a_payment_that_follows_is_to_be_given_back(any_till: Till) -> None:
    hold = any_till.hold(4)
    first, again = any_till.tell(hold, "refused"), any_till.tell(hold, "refused")
    assert (first.status_code, first.json["status"], first.json) == (200, "released", again.json)
    assert any_till.counters() == (0, 0, 2)
    assert owed(any_till.tell(hold)) == (409, "not_open")
    assert any_till.tell(any_till.hold(4), payment="p2").status_code == 201
    late = any_till.tell(hold, "refused", payment="p3")
    assert refused(late) == (409, "not_open")
    assert "give_back" not in late.json


@pytest.mark.parametrize(("event", "hold", "code"), [("gala", "h0", "unknown_hold"), ("none", "h0", "unknown_event")])
def test_paid_for_what_there_is_not_it_is_to_be_given_back(till: Till, event: str, hold: str, code: str) -> None:
    assert owed(till.tell(hold, event=event, signed_event=event)) == (404, code)


def test_a_failure_that_may_pass_says_nothing_of_giving_back(make_client: Callable[..., FlaskClient]) -> None:
    till = Till(make_client(pay_url=PAGE, pay_secret=SECRET, lock_timeout_s=0.05))
    hold = till.hold()
    with till.client.application.extensions["office"].control.alone(1.0):
        answer = till.tell(hold)
    assert refused(answer)[0] == 503
    assert "give_back" not in answer.json
    assert till.tell(hold).status_code == 201


@pytest.mark.servers
def test_the_command_of_the_documentation_tells_that_it_was_paid(tmp_path: Path) -> None:
    documented = (CHECKOUT / "docs" / "service.md").read_text()
    [script] = re.findall(r"<!-- paid -->\n```sh\n(.+?)```", documented, re.DOTALL)
    with Typed("service:app", tmp_path / "shop", LASTSEAT_EVENT="", LASTSEAT_PAY_URL=PAGE) as shop:
        assert shop.call("POST", "/events", {"event": "gala", "capacity": 4}).status == 201
        hold = shop.call("POST", "/events/gala/holds", {"quantity": 2}).json["hold"]
        script = f"event=gala hold={hold}\n" + script.replace("127.0.0.1:8000", f"127.0.0.1:{shop.port}")
        told = subprocess.run(
            ["bash", "-euc", script], cwd=shop.directory, capture_output=True, check=True, timeout=60
        )  # fmt: skip
        assert json.loads(told.stdout)["tickets"] == [1, 2]


# -- by payment alone


def test_an_event_that_is_not_the_labs_is_sold_by_payment_alone_but_by_the_admin(
    any_till: Till, make_client: Callable[..., FlaskClient]
) -> None:
    client, hold = any_till.client, any_till.hold()
    before = any_till.counters()
    wanted: dict[str, Any] = {"quantity": 1}
    cart = {"items": [{"event": "show", **wanted}, {"event": "gala", **wanted}]}
    calls: list[tuple[str, Any]] = [("/events/gala/orders", wanted), (f"/events/gala/holds/{hold}/confirm", None)]
    if client.application.extensions["office"].store.spans_events:
        calls.append(("/carts", cart))
    for address, content in calls:
        assert refused(client.post(address, json=content)) == (402, "payment_needed")
        wrong = {"Authorization": "Bearer guessed"}
        assert refused(client.post(address, json=content, headers=wrong)) == (403, "forbidden")
    for do in ("buy", "confirm"):
        leads = client.post("/", data={"event": "gala", "do": do, "quantity": "1", "hold": hold}).headers["Location"]
        assert "problem=payment_needed" in leads
    assert any_till.counters() == before
    for address, content in calls:
        assert client.post(address, json=content, headers=as_admin(client)).status_code == 201
    assert any_till.counters()[0] == len(calls)


def test_lab_events_and_offices_without_a_provider_go_on_as_they_are(
    till: Till, make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    plain = Till(make_client(data=tmp_path / "plain"))
    for client, event in ((till.client, "show"), (plain.client, "gala")):
        assert client.post(f"/events/{event}/orders", json={"quantity": 1}).status_code == 201
        hold = client.post(f"/events/{event}/holds", json={"quantity": 1}).json["hold"]
        assert client.post(f"/events/{event}/holds/{hold}/confirm").status_code == 201
        cart = {"items": [{"event": event, "quantity": 1}]}
        assert client.post("/carts", json=cart).status_code == 201
        shown = client.get("/", query_string={"event": event}).text
        assert 'value="buy"' in shown


# -- what the page shows


def test_the_page_sends_the_buyer_to_the_provider_with_a_signed_address(till: Till) -> None:
    hold = till.hold(2)
    shown = till.page(hold)
    [address] = re.findall(r'href="(https://pay\.example[^"]*)"', shown)
    base, _, query = unescape(address).partition("?")
    asked, _, signed = query.partition("&signature=")
    assert base == PAGE
    assert signed == signature(b"pay." + asked.encode())
    back = f"/?event=gala&hold={hold}&returned="
    until = (START + timedelta(seconds=60)).isoformat()
    assert {name: each for name, [each] in parse_qs(asked).items()} == {
        "event": "gala", "hold": hold, "quantity": "2", "until": until, "return": back,
    }  # fmt: skip
    assert 'value="confirm"' not in shown and 'value="buy"' not in shown
    assert "only played" not in shown
    assert SECRET not in shown


def test_the_page_tells_what_became_of_the_payment(till: Till) -> None:
    hold = till.hold()
    assert "The payment provider has not told us yet" not in till.page(hold)
    assert "The payment provider has not told us yet" in till.page(hold, returned="")
    order = till.tell(hold).json["order"]
    assert f'data-id="{order}"' in till.page(hold, returned="")
    assert "Sold to you" in till.page(hold)
    refused_one = till.hold()
    till.tell(refused_one, "refused", payment="p2")
    assert "The payment was refused" in till.page(refused_one, returned="")
    late = till.hold()
    till.passes(61)
    assert "https://pay.example" not in till.page(late)
    assert "The time of what was set aside is over" in till.page(late)
    till.hold()  # decides that the others have ended
    assert "The time of what was set aside is over" in till.page(late, returned="")


def test_an_order_is_found_by_its_hold_after_it_was_cancelled_too(till: Till) -> None:
    hold = till.hold()
    order = till.tell(hold).json["order"]
    assert till.client.delete(f"/events/gala/orders/{order}").status_code == 200
    assert "Cancelled" in till.page(hold)


# -- the secret


def test_neither_the_secret_nor_a_signature_nor_a_payment_is_in_the_log(
    till: Till, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hold = till.hold()

    def fail(_: object, held: str, key: str, **__: object) -> None:
        raise LookupError(f"{held} under {key} with {SECRET} and {told}")

    body = b'{"payment":"a-payment","status":"paid"}'
    seconds = int(time.time())
    told = f"{seconds}.{signature(f'{seconds}.gala.{hold}.'.encode() + body)}"
    monkeypatch.setattr(till.client.application.extensions["office"], "confirm", fail)
    assert till.send("gala", hold, body, {"Last-Seat-Signature": told}).status_code == 500
    said = capsys.readouterr().err
    assert "LookupError: *** under *** with *** and ***" in said
    assert not any(each in said for each in (SECRET, told, hold, "a-payment"))


def settings_with(**variables: str) -> Any:
    return from_environment({f"LASTSEAT_{name}": value for name, value in variables.items()})


def test_the_settings_of_payment_are_taken_and_the_secret_is_not_shown() -> None:
    settings = settings_with(PAY_URL=PAGE, PAY_SECRET=SECRET)
    assert (settings.pay_url, settings.pay_secret) == (PAGE, SECRET)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PAY_SECRET": SECRET}, "LASTSEAT_PAY_URL"),
        ({"PAY_URL": PAGE, "PAY_SECRET": "short"}, "32"),
        ({"PAY_URL": PAGE, "PAY_SECRET": f"{SECRET} x"}, "no blanks"),
        ({"PAY_URL": "pay.example"}, "https://"),
        ({"PAY_URL": "javascript:alert(1)"}, "https://"),
        ({"PAY_URL": f"{PAGE}?a=1"}, "https://"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_the_secret(variables: dict[str, str], says: str) -> None:
    with pytest.raises(RefusedToStart) as found:
        settings_with(**variables)
    assert says in str(found.value)
    assert variables.get("PAY_SECRET", "none") not in str(found.value)


@pytest.fixture
def kept(make_client: Callable[..., FlaskClient], tmp_path: Path) -> Iterator[Path]:
    make_client(pay_url=PAGE)
    yield tmp_path / "data" / "pay-secret"


def test_without_a_secret_in_the_settings_one_is_made_for_its_owners_eyes_and_kept(
    kept: Path, make_client: Callable[..., FlaskClient]
) -> None:
    made = kept.read_text().strip()
    assert len(made) >= 32
    assert kept.stat().st_mode & 0o777 == 0o600
    till = Till(make_client(pay_url=PAGE))
    assert refused(till.tell(till.hold())) == (403, "wrong_signature")
    assert till.tell(till.hold(), secret=made).status_code == 201
    till.client.application.extensions["office"].control.look_after()
    kept.unlink()
    till.client.application.extensions["office"].control.look_after()
    assert kept.read_text().strip() == made


def test_an_office_without_a_provider_makes_no_secret(client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/").status_code == 200
    assert not (tmp_path / "data" / "pay-secret").exists()
