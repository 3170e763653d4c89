"""``lastseat record``: what passes through the proxy arrives unchanged, and becomes a history that can be judged."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.record.proxy import ForwardedRequest, Proxy
from loadtests.lab.record.recognition import Recogniser
from loadtests.lab.target.file import read_target

FAR_S = 30.0
EXAMPLES = Path(__file__).parents[3] / "examples"


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("X-Path", self.path)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/stops":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
            return
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/there?a=1")  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"one", b"two"):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler] = Echo) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(FAR_S)


@contextlib.contextmanager
def through_a_proxy(to: str) -> Iterator[tuple[http.client.HTTPConnection, Callable[[int], list[ForwardedRequest]]]]:
    """A client of a proxy in front of a service, and what waits until so many exchanges are told."""
    told: list[ForwardedRequest] = []
    changed = threading.Condition()

    def tell(exchange: ForwardedRequest) -> None:
        with changed:
            told.append(exchange)
            changed.notify_all()

    def wait(count: int) -> list[ForwardedRequest]:
        with changed:
            assert changed.wait_for(lambda: len(told) >= count, FAR_S)
        return told

    with Proxy(to, ("127.0.0.1", 0), tell) as proxy:
        client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=FAR_S)
        with contextlib.closing(client):
            yield client, wait


def test_what_is_sent_and_answered_passes_unchanged_over_one_connection() -> None:
    body = os.urandom(3 << 20)
    with serving() as url, through_a_proxy(url) as (client, wait):
        client.request("POST", "/orders?a=1&b=%20", body)
        answer = client.getresponse()
        assert (answer.status, answer.read() == body, answer.headers["X-Path"]) == (201, True, "/orders?a=1&b=%20")
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        client.request("POST", "/chunks", iter([b"ab", b"cd"]), {"Content-Length": "4"})
        assert client.getresponse().read() == b"abcd"
        client.request("GET", "/chunked")
        assert client.getresponse().read() == b"onetwo"
        client.request("DELETE", "/x")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
        client.request("HEAD", "/x")
        answer = client.getresponse()
        assert (answer.read(), answer.headers["Content-Length"]) == (b"", "7")
        told = wait(5)
    assert [(each.method, each.status) for each in told] == [
        ("POST", 201), ("POST", 201), ("GET", 200), ("DELETE", 204), ("HEAD", 200),
    ]  # fmt: skip
    assert (told[0].body, told[1].body, told[2].answer) == (None, b"abcd", b"onetwo")
    assert all(first.return_ns <= second.invoke_ns for first, second in itertools.pairwise(told))


def test_a_redirection_to_the_service_leads_through_the_proxy() -> None:
    with serving() as url, through_a_proxy(url) as (client, _):
        client.request("GET", "/away")
        assert client.getresponse().headers["Location"] == f"http://{client.host}:{client.port}/there?a=1"


def test_an_answer_that_breaks_off_breaks_off_for_the_client_too_and_has_no_status() -> None:
    with serving() as url, through_a_proxy(url) as (client, wait):
        client.request("GET", "/stops")
        with pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
        [exchange] = wait(1)
    assert (exchange.status, exchange.answer, exchange.sent) == (None, None, True)


def test_where_nobody_listens_the_client_has_a_502_and_surely_nothing_was_sent() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with through_a_proxy(f"http://127.0.0.1:{nobody.getsockname()[1]}") as (client, wait):
            client.request("POST", "/orders", b"{}")
            assert client.getresponse().status == 502
            [exchange] = wait(1)
    assert (exchange.status, exchange.sent) == (None, False)


def test_the_answer_to_a_client_that_has_left_is_recorded_all_the_same() -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Slow(Echo):
        def do_POST(self) -> None:
            asked.set()
            go_on.wait(FAR_S)
            super().do_POST()

    with serving(Slow) as url, through_a_proxy(url) as (client, wait):
        client.request("POST", "/orders", b"sold")
        assert asked.wait(FAR_S)
        client.close()
        go_on.set()
        [exchange] = wait(1)
    assert (exchange.status, exchange.answer) == (201, b"sold")


TARGET = """
capacity = 5
url = "http://127.0.0.1:1"
event = "show"
[buy]
path = "/events/{event}/orders"
headers = { Idempotency-Key = "{key}" }
body = { count = "{quantity}", who = { name = "{buyer}" } }
max_quantity = 4
sold_out = { status = 409 }
answer = { order = "id", version = "v" }
[read]
path = "/events/{event}?fields=stock"
answer = { remaining = "left", version = "v" }
[cancel]
path = "/orders/{order}"
"""
GRAPHQL = """
capacity = 5
url = "http://127.0.0.1:1"
[buy]
path = "/graphql"
body = { operationName = "Buy", variables = { n = "{quantity}" } }
max_quantity = 4
sold_out = { field = "errors" }
[read]
method = "POST"
path = "/graphql"
body = { operationName = "Look" }
answer = { remaining = "data.left" }
"""


def asked(method: str, path: str, body: Any = None, **headers: str) -> ForwardedRequest:
    content = None if body is None else json.dumps(body).encode()
    return ForwardedRequest(
        method, path, {name.lower(): each for name, each in headers.items()}, content, 200, {}, b"", 1, 2, True
    )


@pytest.mark.parametrize(
    ("target", "exchange", "op", "values"),
    [
        (TARGET, asked("POST", "/events/s%201/orders", {"count": 2, "who": {"name": "b"}}, **{"Idempotency-Key": "k"}),
         "buy", {"event": "s 1", "quantity": "2", "buyer": "b", "key": "k"}),
        (TARGET, asked("POST", "/events/show/orders", {}), "buy", {"event": "show"}),
        (TARGET, asked("GET", "/events/show?x=1&fields=stock"), "read", {"event": "show"}),
        (TARGET, asked("DELETE", "/orders/o-7"), "cancel", {"order": "o-7"}),
        (TARGET, asked("GET", "/events/show"), None, {}),
        (TARGET, asked("PUT", "/events/show/orders", {}), None, {}),
        (TARGET, asked("POST", "/events/a/b/orders", {}), None, {}),
        (GRAPHQL, asked("POST", "/graphql", {"operationName": "Buy", "variables": {"n": 3}}), "buy", {"quantity": "3"}),
        (GRAPHQL, asked("POST", "/graphql", {"operationName": "Look"}), "read", {}),
        (GRAPHQL, asked("POST", "/graphql", {"operationName": "LogIn"}), None, {}),
        (GRAPHQL, asked("POST", "/graphql", ["no", "table"]), None, {}),
    ],
)  # fmt: skip
def test_a_request_is_the_operation_that_the_target_file_describes(
    tmp_path: Path, target: str, exchange: ForwardedRequest, op: str | None, values: dict[str, str]
) -> None:
    (tmp_path / "shop.toml").write_text(target, encoding="utf-8")
    found = Recogniser(read_target(tmp_path / "shop.toml")).recognise(exchange)
    assert (found and found.op) == op
    assert (found.values if found else {}) == values


@contextlib.contextmanager
def recording(folder: Path, target: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``lastseat record`` on a free port, and its address."""
    command = [str(Path(sys.executable).with_name("lastseat")), "record"]
    command = [*command, "--target", str(target), "--listen", "127.0.0.1:0", "--results", str(folder), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "forwards to" in first, first
        yield process, first.split()[0]
    finally:
        process.kill()
        process.communicate()


def shopping(url: str, buyers: int, each: int) -> None:
    """Buyers of another load tool, at once."""

    def buy(number: int) -> None:
        with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=FAR_S)) as client:
            for serial in range(each):
                content = json.dumps({"quantity": 1, "buyer": f"b{number}", "key": f"{number}-{serial}"})
                headers = {"Content-Type": "application/json", "Authorization": "Bearer hush-hush"}
                client.request("POST", "/buy", content, headers)
                client.getresponse().read()
                client.request("GET", "/stock")
                client.getresponse().read()

    with ThreadPoolExecutor(buyers) as pool:
        list(pool.map(buy, range(buyers)))


@pytest.mark.servers
@pytest.mark.parametrize(("shop", "verdict", "status"), [("wrong", "invalid", 1), ("right", "valid", 0)])
def test_buyers_of_another_load_tool_are_judged_when_the_recording_ends(
    tmp_path: Path, shop: str, verdict: str, status: int
) -> None:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "shop.toml").write_text(SHOP_TARGET.replace("SHOP", shop), encoding="utf-8")
    with recording(tmp_path / "results", tmp_path / "shop.toml") as (process, url):
        shopping(url, buyers=8, each=6)
        process.send_signal(signal.SIGINT)
        said = json.loads(process.communicate(timeout=FAR_S)[0])
    assert (said["verdict"], process.returncode) == (verdict, status)
    assert said["operations"] == 96
    assert sum(count for name, count in said["recorded"].items() if name.startswith("buy")) == 48
    folder = Path(said["folder"])
    assert "wrong" not in verdict or (folder / "counterexample.svg").exists()
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert b"hush-hush" not in kept


SHOP = """
import json, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock, left = threading.Lock(), 10
right = sys.argv[2] == "right"

class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def say(self, status, about):
        body = json.dumps(about).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.say(200, {"left": left})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if right:
            with lock:
                self.sell()
        else:
            self.sell()

    def sell(self):
        global left
        now = left
        time.sleep(0.005)
        if now < 1:
            self.say(409, {"left": now})
            return
        left = now - 1
        self.say(200, {"left": now - 1})

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
"""
SHOP_TARGET = """
capacity = 10
[start]
command = ["{python}", "shop.py", "{port}", "SHOP"]
[buy]
path = "/buy"
body = { quantity = "{quantity}", buyer = "{buyer}", key = "{key}" }
sold_out = { status = 409 }
answer = { remaining = "left" }
[read]
path = "/stock"
answer = { remaining = "left" }
"""


def test_a_port_that_is_taken_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(TARGET, encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [str(Path(sys.executable).with_name("lastseat")), "record", "--target", str(tmp_path / "shop.toml")]
        command += ["--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--results", str(tmp_path / "results")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * FAR_S, check=False)
    assert ran.returncode == 70
    assert "Address already in use" in ran.stderr or "nobody answers" in ran.stderr


def test_a_request_whose_length_is_no_number_has_an_answer_and_is_told() -> None:
    with serving() as url, through_a_proxy(url) as (client, wait):
        client.putrequest("POST", "/orders")
        client.putheader("Content-Length", "many")
        client.endheaders()
        assert client.getresponse().status == 502
        [exchange] = wait(1)
    assert exchange.status is None
