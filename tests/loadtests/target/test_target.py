"""Services that this project did not write, through ``lastseat run --target``; and what a target file may say."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.admin_api import CallRefused
from loadtests.lab.target.adapter import TargetAdapter
from loadtests.lab.target.file import TargetError, read_target
from loadtests.lab.target.filling import fill
from loadtests.lab.target.problems import problems
from loadtests.lab.target.reading import look_up
from loadtests.lab.target.server import NotThisMachine, TargetOffice, refuse_other_machines
from loadtests.lab.target.tables import Target

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
LASTSEAT = [sys.executable, "-c", "from loadtests.lab.cli import main; main()"]


def lastseat(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LASTSEAT, *arguments], cwd=directory, capture_output=True, text=True, timeout=150, check=False
    )


def judged(directory: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = lastseat(directory, "run", *arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.servers
def test_a_shop_that_awaits_between_looking_and_selling_is_caught_overselling(tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--target", str(EXAMPLES / "corner_shop.toml"))
    assert (status, said["verdict"], said["tier"]) == (1, "invalid", "C")
    assert said["capacity"] == 50
    assert said["oversold"] == said["acknowledged"] - 50 > 0
    assert Path(said["report"]).stat().st_size > 0


@pytest.mark.servers
def test_a_shop_that_checks_and_sells_in_one_statement_is_valid_by_its_remaining_tickets(tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--target", str(EXAMPLES / "ticket_office.toml"), "--rounds", "2")
    assert (status, said["verdict"], said["tier"]) == (0, "valid", "B"), said["why"]
    assert (said["rounds"], said["acknowledged"], said["oversold"]) == (2, 200, 0)
    assert "tier B: the answers carry no versions" in said["why"]
    again, repeated = judged(tmp_path, "results/run/latest/experiment.json", "--capacity", "30", "--rounds", "1")
    assert (again, repeated["acknowledged"], repeated["target"]) == (0, 30, "the ticket office")


@pytest.mark.servers
def test_a_service_with_versions_and_an_audit_is_judged_completely(tmp_path: Path) -> None:
    status, said = judged(tmp_path, "--target", str(EXAMPLES / "last_seat.toml"), "--cancel-share", "0.2")
    assert (status, said["tier"], said["acknowledged"], said["lost"]) == (0, "A", 100, 0), said["why"]
    history = (Path(said["folder"]) / "history.jsonl").read_text()
    assert '"op":"cancel"' in history


@pytest.mark.servers
def test_a_service_that_does_not_start_fails_the_lab_with_the_end_of_its_log(tmp_path: Path) -> None:
    text = (EXAMPLES / "corner_shop.toml").read_text()
    (tmp_path / "shop.toml").write_text(text)  # without the shop beside it
    done = lastseat(tmp_path, "run", "--target", "shop.toml")
    assert done.returncode == 70
    assert "corner_shop.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_machine_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    text = (EXAMPLES / "corner_shop.toml").read_text().partition("[start]")
    rest = text[2].partition("[setup]")[1:]
    (tmp_path / "shop.toml").write_text(f'url = "http://192.0.2.7:80"\n{text[0]}{"".join(rest)}')
    done = lastseat(tmp_path, "run", "--target", "shop.toml")
    assert done.returncode == 64
    assert "not on this machine" in done.stderr
    assert "--i-own-this-host" in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "[::1]", "localhost"])
def test_loopback_is_this_machine(host: str) -> None:
    refuse_other_machines(f"http://{host}:8080/shop")


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "0.0.0.0", "[2001:db8::1]", "no-such-host.invalid", "[::ffff:192.0.2.1]"]
)
def test_every_other_address_is_another_machine(host: str) -> None:
    with pytest.raises(NotThisMachine):
        refuse_other_machines(f"http://{host}:8080")


class _Redirecting(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def redirecting() -> Iterator[str]:
    _Redirecting.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_redirection_is_not_followed_for_it_may_lead_to_a_stranger(redirecting: str) -> None:
    office = TargetOffice(target(audit={"path": "/audit"}), redirecting)
    with pytest.raises(CallRefused, match="302"):
        office.audit("sale")
    assert _Redirecting.asked == ["/audit"]


@pytest.mark.servers
def test_buyers_do_not_follow_it_either_and_nothing_answered_is_undecided(redirecting: str, tmp_path: Path) -> None:
    shop = f'url = "{redirecting}"\ncapacity = 5\n[buy]\npath = "/buy"\nsold_out = {{ status = 409 }}\n'
    (tmp_path / "shop.toml").write_text(shop)
    status, said = judged(tmp_path, "--target", "shop.toml", "--limit", "1", "--buyers", "2")
    assert (status, said["verdict"], said["acknowledged"]) == (2, "unknown", 0)
    assert set(_Redirecting.asked) == {"/", "/buy"}


def target(**changes: Any) -> Target:
    content: dict[str, Any] = {
        "capacity": 5,
        "url": "http://127.0.0.1:1",
        "buy": {"path": "/buy", "sold_out": {"status": 409}},
    }
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(content.get(name), dict)
        content[name] = content[name] | value if both else value
    return msgspec.convert(content, type=Target)


def answered(manners: TargetAdapter, status: int, answer: Any, op: str = "buy") -> Operation:
    operation = Operation(
        process=1, op=op, event="sale", invoke_ns=0, return_ns=1, outcome="unknown", key="1-1", quantity=1
    )
    manners.understand(operation, status, answer if isinstance(answer, bytes) else json.dumps(answer).encode(), {})
    return operation


def test_an_error_that_the_file_does_not_call_definite_may_have_been_a_sale() -> None:
    manners = TargetAdapter(target(buy={"definite": {"status": [429, 503]}}))
    outcomes = {status: answered(manners, status, {}).outcome for status in (200, 201, 302, 400, 409, 429, 500, 503)}
    assert outcomes == {
        200: "ok", 201: "ok", 302: "unknown", 400: "unknown", 409: "sold_out", 429: "fail", 500: "unknown", 503: "fail",
    }  # fmt: skip


def test_sold_out_may_be_said_in_the_body() -> None:
    either = [{"field": "ok", "equals": False}, {"status": 410}, {"field": "error.code", "equals": "none_left"}]
    manners = TargetAdapter(target(buy={"sold_out": either}))
    assert answered(manners, 200, {"ok": False}).outcome == "sold_out"
    assert answered(manners, 200, {"ok": 0}).outcome == "ok"
    assert answered(manners, 410, b"gone").outcome == "sold_out"
    assert answered(manners, 422, {"error": {"code": "none_left"}}).outcome == "sold_out"
    assert answered(manners, 200, {"ok": True}).outcome == "ok"


def test_facts_are_found_where_the_file_says_and_absent_where_they_are_not() -> None:
    where = {"remaining": "data.left", "tickets": "data.seats", "order": "id", "version": "."}
    manners = TargetAdapter(target(buy={"answer": where}))
    operation = answered(manners, 201, {"id": 7, "data": {"left": "4", "seats": [1, 2]}})
    assert (operation.remaining, operation.tickets, operation.order, operation.version) == (4, [1, 2], "7", None)
    assert any("no number at `.`" in note for note in manners.notes())
    assert operation.replayed is None  # whether a service repeats answers is not known


def test_one_ticket_number_is_a_list_of_one() -> None:
    manners = TargetAdapter(target(buy={"answer": {"tickets": "seats.0"}}))
    assert answered(manners, 200, {"seats": [12, 13]}).tickets == [12]
    assert answered(manners, 200, {"seats": ["A12"]}).tickets is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"[1,", b"null", b'"x"', b"[]", b"1e999"])
def test_a_body_that_is_no_json_has_no_facts_and_breaks_nothing(body: bytes) -> None:
    manners = TargetAdapter(target(buy={"answer": {"remaining": "left", "tickets": "0"}}))
    operation = answered(manners, 200, body)
    assert (operation.outcome, operation.remaining, operation.tickets) == ("ok", None, None)


def test_only_a_service_that_is_told_the_key_is_asked_twice() -> None:
    assert not TargetAdapter(target()).may_ask_again("buy")
    assert TargetAdapter(target(buy={"headers": {"X-Request": "{key}"}})).may_ask_again("buy")


def test_placeholders_are_numbers_in_json_and_quoted_in_a_path() -> None:
    buy = {"path": "/of/{event}", "body": {"n": "{quantity}", "who": ["{buyer} says {key}"]}}
    request = fill(target(buy=buy).buy, {"event": "a/b c", "quantity": 3, "buyer": "bo", "key": "1-1"})
    assert request.path == "/of/a%2Fb%20c"
    assert json.loads(request.body or b"") == {"n": 3, "who": ["bo says 1-1"]}
    assert request.headers == {"Content-Type": "application/json"}
    form = fill(target(buy={"body": "n={quantity}&k={key}"}).buy, {"quantity": 3, "key": "1-1"})
    assert (form.body, form.headers) == (b"n=3&k=1-1", {"Content-Type": "application/x-www-form-urlencoded"})


def test_paths_into_answers() -> None:
    answer = {"a": [{"b": 1}], "0": "zero"}
    assert [look_up(answer, path) for path in ("a.0.b", "0", ".", "a.1", "a.b", "a.0.b.c", "nothing")] == [
        1, "zero", answer, None, None, None, None,
    ]  # fmt: skip


GOOD = """capacity = 50
url = "http://127.0.0.1:8080"
[buy]
path = "/buy"
sold_out = { status = 409 }
"""


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("sold_out", "soldout"), "line 5: [buy] knows no `soldout` (did you mean `sold_out`?); it may have method,"),
        (("status = 409", "code = 409"), "line 5: [buy.sold_out] knows no `code`; it may have status, field, equals"),
        (("capacity = 50", ""), "lacks `capacity`"),
        (("[buy]", '[buy]\nmethod = "GET"'), "line 4: [buy] has `method` 'GET'; it may be POST, PUT, PATCH"),
        (("capacity = 50", 'capacity = "many"'), "Expected `int`, got `str`, at `capacity`"),
        (("capacity = 50", "capacity = 0"), "it must be 1 or more"),
        (("http://127.0.0.1:8080", "127.0.0.1:8080"), "it must be like http://127.0.0.1:8080"),
        (('url = "http://127.0.0.1:8080"', ""), "say either `url`"),
        (('"/buy"', '"buy"'), "it must begin with /"),
        (
            ('"/buy"', '"/buy/{price}"'),
            "holds {price}; it may hold {buyer}, {buyer_number}, {event}, {key}, {quantity}",
        ),
        (("{ status = 409 }", "{ }"), "[buy] `sold_out` is empty"),
        (("{ status = 409 }", "{ equals = 1 }"), "`equals` and no `field`"),
        (("[buy]", "[buy]\nmax_quantity = 4"), "nothing holds {quantity}"),
        (("[buy]", '[start]\ncommand = ["./shop"]\n[buy]'), "say either `url`"),
        (("{ status = 409 }", '{ status = 409 }\n[cancel]\npath = "/x"'), "[cancel] does not hold {order}"),
        (("capacity = 50", 'capacity = 50\nevent = "A B"'), "lower-case letters"),
        (("capacity = 50", "capacity ="), "is no TOML: Invalid value (at line 1"),
        (("capacity = 50", 'capacity = 50\ndirectory = "/"'), "`directory` is not for this file"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_what_is_allowed(
    change: tuple[str, str], wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "shop.toml"
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(TargetError) as refused:
        read_target(path)
    assert wanted in str(refused.value)
    assert "shop.toml" in str(refused.value)


def test_a_command_must_be_told_its_port() -> None:
    odd = target(url="", start={"command": ["./shop", "8080"]})
    assert any("does not hold {port}" in each for each in problems(odd))


def test_the_file_in_the_documentation_is_right(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "judge-your-own.md").read_text()
    (tmp_path / "shop.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    described = read_target(tmp_path / "shop.toml")
    assert (described.buy.answer.order, described.buy.max_quantity) == ("data.id", 4)


def test_the_other_pieces_in_the_documentation_fit_a_file(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "judge-your-own.md").read_text()
    _, *pieces = [each.partition("```")[0] for each in page.split("```toml\n")[1:]]
    assert len(pieces) >= 2
    for piece in pieces:
        (tmp_path / "shop.toml").write_text(GOOD + 'take = { booking = "id" }\n' + piece)
        assert read_target(tmp_path / "shop.toml").buy.path == "/buy"


@pytest.mark.parametrize("name", ["corner_shop", "ticket_office", "last_seat"])
def test_the_examples_are_right(name: str) -> None:
    assert read_target(EXAMPLES / f"{name}.toml").name
