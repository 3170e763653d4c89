"""The description of the interface: whole, made of the types that validate, and true of what a real server answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typed import TOKEN, Typed

from service.errors import TABLE
from service.http.events import NewEvent
from service.http.openapi import described_rules, path_of

ST = str(Path(sys.executable).with_name("st"))
# Left out of the fuzzer's checks: "valid data is accepted", for what only the rules can refuse (more than an order may
# have, a key used before, a guard that does not exist) is 422 too, and to JSON Schema 2.0 is an integer, here it is
# none; and "what was deleted is gone", for a cancelled order is still shown, as cancelled.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth,allow_header_conformance,"
    "missing_required_header,code_is_listed"
)


# An address that is longer than gunicorn takes is answered by gunicorn, in its own words (414), and not by the office.
ANY_LENGTH = "--limit-request-line 0"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json
    return found


def test_every_route_is_described(client: FlaskClient, document: dict[str, Any]) -> None:
    for rule, method, about in described_rules(client.application):
        assert about is not None, f"{method} {rule.rule} does not describe itself"
        assert method.lower() in document["paths"][path_of(rule)]


def test_a_route_without_a_description_would_be_noticed(client: FlaskClient) -> None:
    """The negative control."""
    client.application.add_url_rule("/new", view_func=lambda: "", endpoint="new")  # type: ignore[misc]
    assert [rule.rule for rule, _, about in described_rules(client.application) if about is None] == ["/new"]


def test_nothing_is_described_that_does_not_exist(client: FlaskClient, document: dict[str, Any]) -> None:
    there = {(path_of(rule), method.lower()) for rule, method, _ in described_rules(client.application)}
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == there


def test_every_reference_leads_to_a_component(document: dict[str, Any]) -> None:
    for reference in re.findall(r"'\$ref': '#/([^']+)'", str(document)):
        place: Any = document
        for name in reference.split("/"):
            place = place[name]


def test_what_is_described_of_a_body_is_the_type_that_validates_it(document: dict[str, Any]) -> None:
    described = document["components"]["schemas"]["NewEvent"]
    assert set(described["properties"]) == set(NewEvent.__struct_fields__)
    assert described["additionalProperties"] is False
    assert described["properties"]["event"]["pattern"] == "^[a-z0-9][a-z0-9_-]{0,63}$"


def test_each_operation_lists_its_refusals_by_status_and_code(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    examples = answer["content"]["application/problem+json"]["examples"]
                    assert examples
                    assert {TABLE[code].status for code in examples} == {int(status)}


def test_every_refusal_is_of_one_type_so_that_generated_clients_have_it(document: dict[str, Any]) -> None:
    """A generator that is given a problem narrowed by status makes a type of each answer, or drops them all."""
    contents = [
        answer["content"]["application/problem+json"]["schema"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    ]
    assert len(contents) > 100
    assert all(each == {"$ref": "#/components/schemas/ProblemShown"} for each in contents)


@pytest.mark.parametrize("code", TABLE)
def test_every_code_of_the_table_is_described_somewhere(document: dict[str, Any], code: str) -> None:
    anywhere = {"method_not_allowed"}  # the answer to a method that no route has
    assert code in anywhere or f"'{code}': {{'$ref'" in str(document["paths"])


def test_the_description_is_not_sent_again_to_who_has_it(client: FlaskClient) -> None:
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def _fuzz(server: Typed, folder: Path, *how_much: str) -> None:
    command = [
        ST, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}",
        "--checks", CHECKS, "--continue-on-failure", "--no-color", "--request-timeout", "30", "--warnings", "off",
        *how_much,
    ]  # fmt: skip
    own_check = {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("fuzz_checks.py"))}
    ended = subprocess.run(
        command,
        cwd=folder, env=os.environ | own_check, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{server.said[-5000:]}"
    selected, tested = re.search(r"Selected: (\d+)/\d+\s+Tested: (\d+)", ended.stdout).groups()  # type: ignore[union-attr]
    assert selected == tested, ended.stdout
    assert "Traceback" not in server.said


@pytest.mark.servers
def test_a_fuzzer_finds_no_5xx_and_no_answer_that_is_not_described(tmp_path: Path) -> None:
    with Typed(f"-k gthread --threads 8 -w 2 {ANY_LENGTH} service:app", tmp_path / "office") as server:
        # So many examples of each address, and no more of them where the machine is quick: with --max-time they are.
        _fuzz(server, tmp_path, "--max-examples", "20")


@pytest.mark.soak
@pytest.mark.parametrize("store", ["json", "journal", "sqlite"])
@pytest.mark.parametrize("worker", ["-w 2", "-k gthread --threads 8 -w 2", "-k gevent -w 2"])
def test_a_fuzzer_finds_nothing_in_minutes_either(tmp_path: Path, worker: str, store: str) -> None:
    with Typed(f"{worker} {ANY_LENGTH} service:app", tmp_path / "office", LASTSEAT_STORE=store) as server:
        _fuzz(server, tmp_path, "--max-time", "180")
