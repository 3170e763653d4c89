"""The log: a line of JSON for every request where that is asked for, and never a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typed import ADMIN, TOKEN, Typed

from loadtests.lab.servers.engines import shown_address
from service.settings import without_passwords

BUYER = "Ada Lovelace of Ockham"
KEY = "the-key-of-a-buyer"


def lines(server: Typed) -> list[dict[str, Any]]:
    """What the service said itself; gunicorn's own lines are not JSON."""
    return [json.loads(line) for line in server.said.splitlines() if line.startswith("{")]


def requests(server: Typed) -> list[dict[str, Any]]:
    return [line for line in lines(server) if line["message"] == "request"]


@pytest.mark.servers
@pytest.mark.parametrize("model", ["-w 1", "-k gthread --threads 4 -w 1", "-k gevent -w 1"])
def test_every_request_leaves_one_line_that_says_what_became_of_it(tmp_path: Path, model: str) -> None:
    with Typed(f"{model} service:app", tmp_path / "office", LASTSEAT_LOG="json") as server:
        server.buy(quantity=11, headers={"X-Request-Id": "first"})
        server.buy(headers={"X-Request-Id": "second"})
        told = {line["request_id"]: line for line in requests(server)}
        assert told["first"].items() >= {"status": 422, "outcome": "over_limit", "event": "show"}.items()
        assert told["second"].items() >= {"route": "/events/<event>/orders", "method": "POST", "status": 201}.items()
        assert told["second"]["ms"] >= told["second"]["store_ms"] > 0
        assert told["second"]["worker"] in server.workers()


@pytest.mark.servers
def test_without_the_setting_no_request_leaves_a_line(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "office") as server:
        server.buy()
        assert lines(server) == []


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["json", ""])
def test_no_secret_is_in_the_log_whatever_happens_to_the_request(tmp_path: Path, kind: str) -> None:
    with Typed("service:app", tmp_path / "office", LASTSEAT_LOG=kind) as server:
        bought = server.call(
            "POST", "/events/show/orders", {"quantity": 1, "buyer": BUYER}, {"Idempotency-Key": KEY}
        ).json["order"]
        server.call("GET", f"/events/show/orders/{bought}")
        server.call("GET", f"/?event=show&order={bought}")
        server.call("POST", "/", b"do=switch&event=show&token=guessed-token", {"Content-Type": "x/form"})
        # A fault of our own, whose traceback and message come from what was sent.
        (server.data / "events" / "show.json").write_bytes(b"{")
        server.call("GET", f"/events/show/orders/{bought}")
        server.call("DELETE", f"/events/show/orders/{bought}", None, {"Idempotency-Key": KEY})
        said = server.said + server.out.read_text()
    for secret in (TOKEN, bought, KEY, BUYER, "guessed-token"):
        assert secret not in said


def test_what_an_exception_says_is_written_without_what_the_request_brought(
    capsys: pytest.CaptureFixture[str], client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, order: str, **__: object) -> None:
        raise LookupError(f"{order} with {TOKEN}, {KEY} at postgresql://office:swordfish@db/tickets")

    monkeypatch.setattr(client.application.extensions["office"], "cancel", fail)
    answer = client.delete("/events/show/orders/o-the-secret", headers=ADMIN | {"Idempotency-Key": KEY})
    said = capsys.readouterr().err
    assert answer.status_code == 500
    assert "LookupError: *** with ***, *** at postgresql://office:***@db/tickets" in said
    assert not any(secret in said for secret in ("o-the-secret", TOKEN, KEY, "swordfish"))


def test_a_sane_request_id_comes_back_and_any_other_is_replaced(client: FlaskClient) -> None:
    sane = "4bf92f3577b34da6-a3ce:1"
    assert client.get("/healthz", headers={"X-Request-Id": sane}).headers["X-Request-Id"] == sane
    for other in ('"}', "a b", "x" * 129, "", "caf\xe9"):
        made = client.get("/healthz", headers={"X-Request-Id": other}).headers["X-Request-Id"]
        assert re.fullmatch(r"[0-9a-f]{16}", made)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("postgresql://ada:pass@host:5432/db", "postgresql://ada:***@host:5432/db"),
        ("redis://:pass@host/0", "redis://:***@host/0"),
        ("see postgresql://host/db", "see postgresql://host/db"),
        ("postgresql://ada:p%40:ss@host", "postgresql://ada:***@host"),
        ("postgresql://ada:hunter2@S3cretTail@host/db", "postgresql://ada:***@host/db"),
        ("postgresql://ada@corp:pa/s s?w#o@host/db", "postgresql://ada@corp:***@host/db"),
        ("redis://h/0?password=p%26w&db=1", "redis://h/0?password=***&db=1"),
        ("postgresql://h/db?sslpassword=pass", "postgresql://h/db?sslpassword=***"),
        ("host=db password=pass user=ada", "host=db password=*** user=ada"),
        (r"host=db password = 'p \' w' user=ada", "host=db password = *** user=ada"),
        ("{'user': 'ada', 'password': 'pass'}", "{'user': 'ada', 'password': ***}"),
    ],
)
def test_an_address_is_shown_without_its_password(written: str, shown: str) -> None:
    assert without_passwords(written) == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("postgresql://ada:hunter2@S3cretTail@host/db", "postgresql://ada@host/db"),
        ("postgresql://host/db?password=pass&user=me@corp", "postgresql://host/db?user=me@corp"),
        ("redis://:pa/ss@h:6379/0?sslpassword=pass", "redis://h:6379/0"),
        ("unix:///run/v.sock?prefix=a&password=pass", "unix:///run/v.sock?prefix=a"),
    ],
)
def test_the_lab_writes_an_address_down_without_its_password(written: str, shown: str) -> None:
    assert shown_address(written) == shown


REFUSED_ADDRESSES = {
    "mysql://office:sturgeon@db/tickets": "is no scheme of a store",
    "host=db password=sturgeon options=a://b": "is no scheme of a store",
    "host=db user=office password='stur geon'": "is not a store",
    # Where a part of the password would pass for the host, the port or the database.
    "postgresql://office:stur@geon@localhost/tickets": "cannot be read for sure",
    "postgresql://office:stur/geon@localhost/tickets": "cannot be read for sure",
    "postgresql://office:1/sturgeon@localhost/tickets": "cannot be read for sure",
    "redis://:1/sturgeon@localhost/0": "cannot be read for sure",
    "postgresql://office:stur%40geon@127.0.0.1:1/tickets": "cannot be reached",
    "postgresql://127.0.0.1:1/tickets?sslpassword=stur&password=geon": "cannot be reached",
    "redis://127.0.0.1:1/0?password=sturgeon": "cannot be reached",
    "redis://:stur@geon@127.0.0.1:1/0": "cannot be reached",
}


@pytest.mark.servers
def test_a_refusal_to_start_shows_no_password_of_the_store(tmp_path: Path) -> None:
    for number, (address, says) in enumerate(REFUSED_ADDRESSES.items()):
        with Typed("service:app", tmp_path / f"office-{number}", LASTSEAT_STORE=address).launch() as server:
            assert server.status_at_exit() != 0
            assert says in server.said
            assert "stur" not in server.said
            assert "geon" not in server.said
