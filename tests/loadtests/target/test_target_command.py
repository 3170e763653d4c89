"""``lastseat target``: a first file for a service, and a file that is tried without load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask, jsonify, request

from loadtests.lab.cli import lastseat
from loadtests.lab.target.file import read_target
from loadtests.lab.target.first_file import first_file
from tests.loadtests.target.stranger import served

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def said(*words: str) -> tuple[int, str]:
    """The status of a command and all that it printed."""
    done = CliRunner().invoke(lastseat, ["target", *words], standalone_mode=False)
    error = done.exception.format_message() if hasattr(done.exception, "format_message") else ""
    status = getattr(done.exception, "exit_code", 1) if done.exception else (done.return_value or 0)
    return status, done.output + error


def shop(*, counts: bool = True) -> Flask:
    """A shop with an OpenAPI document; its counter stands still where it does not count."""
    app, stock, asked = Flask(__name__), {"left": 5}, []
    app.config["asked"] = asked

    @app.before_request
    def note() -> None:
        asked.append((request.method, request.path))

    @app.get("/openapi.json")
    def document() -> Any:
        return jsonify(DOCUMENT)

    @app.post("/api/orders")
    def buy() -> Any:
        if stock["left"] < 1:
            return "", 409
        stock["left"] -= counts
        return jsonify(id=9, token="tk-of-an-answer"), 201

    @app.get("/api/stock")
    def look() -> Any:
        return jsonify(left=stock["left"])

    return app


DOCUMENT = {
    "openapi": "3.0.0",
    "servers": [{"url": "http://127.0.0.1:9999/base"}],
    "paths": {
        "/api/orders": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}
            },
            "get": {},
        },
        "/api/orders/{orderId}": {"delete": {}},
        "/api/stock": {"get": {}},
        "/api/events/{event}/reset": {"post": {}},
        "/login": {"post": {}},
    },
    "components": {
        "schemas": {
            "Order": {
                "properties": {
                    "quantity": {"type": "integer"},
                    "userId": {"type": "integer"},
                    "email": {"type": "string"},
                    "gift": {"type": "boolean"},
                    "note": {"$ref": "#/components/schemas/Order/properties/note"},
                }
            }
        }
    },
}


def test_a_first_file_can_be_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(first_file("http://127.0.0.1:8080"))
    assert read_target(path).buy.path == "/buy"
    path.write_text(first_file("http://127.0.0.1:8080", DOCUMENT))
    described = read_target(path)
    assert (described.buy.path, described.read and described.read.path) == ("/api/orders", "/api/stock")
    assert described.buy.body == {
        "quantity": "{quantity}", "userId": "{buyer_number}", "email": "{buyer}@example.org", "gift": True, "note": "?",
    }  # fmt: skip
    assert path.read_text().count("?") > 8


BODY = {
    "parameters": [{"name": "Idempotency-Key"}, {"name": "Idempot\u00e9"}, "x", {"name": 5}],
    "requestBody": {"content": {"x": {"schema": {"properties": {"{x}": {}, "a\x7f\n": {}, "\U0001f600": 1, "": {}}}}}},
}


@pytest.mark.parametrize(
    "paths",
    [
        None,
        [],
        {"x": 1},
        {"/buy": None},
        {"/buy": {"post": []}},
        {"/b\n{u}y": {"post": {"requestBody": []}}},
        {"/buy\n[x]{u}\x7f}#\U0001f600": {"post": BODY, "delete": {}}, "/stock {a{b}}": {"get": {}}},
    ],
)
def test_whatever_a_document_says_the_file_can_be_read(paths: Any, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(first_file("http://127.0.0.1:8080", {"paths": paths}))
    assert read_target(path).capacity == 50


def test_a_service_is_asked_for_its_document_and_nothing_else(tmp_path: Path) -> None:
    app = shop()
    with served(app) as url:
        status, text = said("new", url, "-o", str(tmp_path / "shop.toml"))
        assert (status, "is written, out of its OpenAPI document" in text) == (0, True)
        assert set(app.config["asked"]) == {("GET", "/"), ("GET", "/openapi.json")}
        assert read_target(tmp_path / "shop.toml").url == url
        status, text = said("new", url, "-o", str(tmp_path / "shop.toml"))
        assert "was not written: File exists" in text


def test_a_document_in_a_file_says_where_the_service_is(tmp_path: Path) -> None:
    (tmp_path / "api.json").write_text(__import__("json").dumps(DOCUMENT))
    status, text = said("new", str(tmp_path / "api.json"))
    assert (status, 'url = "http://127.0.0.1:9999/base"' in text) == (0, True)
    status, text = said("new", str(tmp_path / "nothing.json"))
    assert "cannot be read" in text


def test_another_machine_is_asked_for_nothing() -> None:
    _, text = said("new", "http://192.0.2.7:80")
    assert "not on this machine" in text
    assert "--i-own-this-host" in text


FILE = """capacity = 5
url = "{url}"
[buy]
path = "/api/orders"
sold_out = {{ status = 409 }}
answer = {{ order = "id" }}
[read]
path = "/api/stock"
answer = {{ remaining = "left" }}
"""


def tried(app: Flask, folder: Path, file: str = FILE) -> tuple[int, str]:
    with served(app) as url:
        (folder / "shop.toml").write_text(file.format(url=url))
        return said("try", str(folder / "shop.toml"))


def test_a_file_that_is_right_is_shown_with_what_was_asked_answered_and_understood(tmp_path: Path) -> None:
    app = shop()
    status, text = tried(app, tmp_path)
    assert status == 0, text
    for line in (
        "asked:    POST /api/orders", "answered: 201", "understood: ok · order = 9", "remaining = 4",
        "Everything was understood",
    ):  # fmt: skip
        assert line in text
    assert "tk-of-an-answer" not in text
    assert [each for each in app.config["asked"] if each[1] == "/api/orders"] == [("POST", "/api/orders")]


@pytest.mark.parametrize(
    ("app", "change", "wanted"),
    [
        (shop(counts=False), ("", ""), "one was bought, and [read] shows 5 before and 5 after"),
        (shop(), ("capacity = 5", "capacity = 50"), "`capacity` is 50, and [read] shows 5 before anything is sold"),
        (shop(), ('"left"', '"light"'), "have no number at `light`: is the file right?"),
        (shop(), ('"/api/orders"', '"/api/order"'), "[buy] was understood as unknown (not described"),
    ],
)
def test_what_is_not_as_the_file_says_is_named_before_any_load(
    app: Flask, change: tuple[str, str], wanted: str, tmp_path: Path
) -> None:
    status, text = tried(app, tmp_path, FILE.replace(*change) if change[0] else FILE)
    assert (status, wanted in text) == (2, True), text


def test_a_list_with_pages_is_warned_of(tmp_path: Path) -> None:
    app = Flask(__name__)
    app.add_url_rule("/api/orders", "buy", lambda: jsonify(id=1), methods=["POST"])
    app.add_url_rule("/api/stock", "seats", lambda: jsonify(seats=[{"free": True}] * 5, total=9))
    counted = '{{ count = "seats", where = {{ free = true }} }}'
    _, text = tried(app, tmp_path, FILE.replace('"left"', counted))
    assert "the list at `seats` has 5 elements and more pages" in text


def test_commands_are_shown_before_they_are_run_and_where_nobody_can_be_asked_none_is(tmp_path: Path) -> None:
    for path in EXAMPLES.glob("queue_shop.*"):
        shutil.copy(path, tmp_path)
    _, text = said("try", str(tmp_path / "queue_shop.toml"))
    assert "'{python}' queue_shop.py '{port}'" in text
    assert "Nothing was run" in text
    assert "asked:" not in text


HERE = """
import http.server, json, os, sys

class Shop(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        here = json.dumps({"here": os.path.basename(os.getcwd()), "flavour": os.environ["FLAVOUR"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(here)))
        self.end_headers()
        self.wfile.write(here)

    do_GET = do_POST

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop).serve_forever()
"""


@pytest.mark.servers
def test_a_service_starts_in_its_directory_with_its_environment(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "shop.py").write_text(HERE)
    file = tmp_path / "shop.toml"
    file.write_text(
        'capacity = 5\n[start]\ncommand = ["{python}", "shop.py"]\n'
        'env = { PORT = "{port}", FLAVOUR = "of {capacity}" }\n'
        'directory = "server"\n[buy]\npath = "/buy"\nsold_out = { status = 409 }\n'
        'ok = { field = "flavour", equals = "of 5" }\nanswer = { order = "here" }\n'
    )
    status, text = said("try", str(file), "--yes")
    assert (status, "understood: ok · order = server" in text) == (0, True), text
    file.write_text(file.read_text().replace('"server"', '"nowhere"'))
    status, text = said("try", str(file), "--yes")
    assert "nowhere', which is no folder" in text


@pytest.mark.servers
@pytest.mark.parametrize("shop", ["member_shop", "seat_shop", "queue_shop", "graphql_shop", "corner_shop"])
def test_the_examples_are_understood(shop: str) -> None:
    status, text = said("try", str(EXAMPLES / f"{shop}.toml"), "--yes")
    assert status == 0, text
    assert "open-sesame" not in text
