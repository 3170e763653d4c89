"""A service that answers with anything at all: the lab ends, stays small, and what others have shown stands."""

from __future__ import annotations

import gzip
import http.server
import json
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.lab.history.history import read_history
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol import carts
from loadtests.lab.protocol.adapter import Adapter
from loadtests.lab.protocol.admin_api import Office, OfficeError, Unreachable
from loadtests.lab.protocol.answers import keep_fields, outcome_of, parse
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.target.adapter import TargetAdapter
from loadtests.lab.target.tables import Target

DIGITS = b"9" * 5000
DEEP = b"[" * 10_000 + b"]" * 10_000
BAD_VALUES = [
    b'"--3"', b'"' + DIGITS + b'"', DIGITS, b"-1", b"-" + DIGITS, b"0", b"1.5", b"1e999", b"NaN", b"-Infinity", b"true",
    b"null", b"[]", b"{}", DEEP, b'"\xff"', b'"\\ud800"', b'"\\u001b[31m"', b'"\\u202e"', b'"a\\r\\nX: y"', b'""',
    b'"../.."',
    b"1152921504606846977", b"9223372036854775808", b"[1,2,null]", b"[true]", b"[1e3]", b'"' + b"x" * 300 + b'"', b"",
    b"[" + b"7," * 50_000 + b"7]",
]  # fmt: skip
FIELDS = ["order", "hold", "quantity", "tickets", "remaining", "version", "code", "definite", "event"]
TARGET: dict[str, Any] = {
    "capacity": 5,
    "url": "http://127.0.0.1:1",
    "buy": {
        "path": "/buy",
        "sold_out": {"status": 409},
        "answer": {name: name for name in ("order", "quantity", "tickets", "remaining", "version")},
    },
    "cancel": {"path": "/order", "headers": {"X-Order": "{order}"}, "refused": {"status": 404}},
}


def of_target() -> TargetAdapter:
    return TargetAdapter(msgspec.convert(TARGET, type=Target))


def asked(number: int, op: str = "buy") -> Operation:
    return Operation(
        process=number, op=op, event="show", key=f"k{number}", quantity=1, invoke_ns=10 * number,
        return_ns=10 * number + 5, outcome="unknown", order="o0" if op == "cancel" else None,
    )  # fmt: skip


def recorded(tmp_path: Path, manners: Adapter, status: int, bodies: list[bytes], **headers: Any) -> list[Operation]:
    """Each body as the answer to an operation, all of them in a history that can be read."""
    path = tmp_path / "history.jsonl"
    path.unlink(missing_ok=True)
    recorder = Recorder(path)
    lines = []
    for number, body in enumerate(bodies):
        line = asked(number)
        manners.understand(line, status, body, headers)
        recorder.write(line)
        lines.append(line)
    recorder.close()
    assert len(read_history(path)) == len(bodies)
    return lines


@pytest.mark.parametrize("make", [OfficeAdapter, of_target])
def test_no_answer_makes_a_history_that_cannot_be_read(tmp_path: Path, make: Callable[[], Adapter]) -> None:
    good = json.dumps({"order": "o", "tickets": [1], "remaining": 3, "version": 1})[1:-1].encode()
    bodies = [
        b'{"%s":%s%s}' % (field.encode(), value, more)
        for field in FIELDS
        for value in BAD_VALUES
        for more in (b"", b"," + good, b',"order":"p"')
    ]
    manners = make()
    lines = recorded(tmp_path, manners, 201, [*bodies, *BAD_VALUES, b"[" * 100_000, b"\x00", b"{" * 5000])
    assert {line.outcome for line in lines} == {"ok"}
    assert manners.notes()


@given(body=st.binary(max_size=60) | st.from_regex(rb'\{("(order|version|tickets|remaining)":[-0-9.eE\[\],"]+,?)+\}'))
def test_any_bytes_are_an_answer_whose_outcome_is_by_its_status(body: bytes) -> None:
    for make in (OfficeAdapter, of_target):
        line = asked(1)
        make().understand(line, 201, body, {})
        assert line.outcome == "ok"


def test_the_fields_that_can_be_read_are_kept_and_the_others_are_told(tmp_path: Path) -> None:
    manners = OfficeAdapter()
    body = b'{"order":"o1","tickets":[1,2],"remaining":"--3","version":' + DIGITS + b"}"
    [line] = recorded(tmp_path, manners, 201, [body])
    assert (line.outcome, line.order, line.tickets, line.remaining, line.version) == ("ok", "o1", [1, 2], None, None)
    assert any("answers to buy had a `version` that cannot be read" in note for note in manners.notes())
    assert parse(b'{"code":"sold_out","remaining":"--3"}').code == "sold_out"


@pytest.mark.parametrize("wrong", [b'"version":-1', b'"tickets":["1"]', b'"order":7', b'"x":' + DEEP])
def test_one_bad_order_of_a_cart_takes_nothing_from_the_other(wrong: bytes) -> None:
    lines = carts.lines_of("k", {"a": 1, "b": 1}, [1, 2])
    body = b'{"orders":[{"event":"a",%s},{"event":"b","order":"o2","version":4}]}' % wrong
    carts.understand(lines, 201, body, {})
    assert lines[1].outcome in {"ok", "unknown"}
    if b"[[[" not in wrong:
        assert [(line.outcome, line.version) for line in lines] == [("ok", None), ("ok", 4)]


@pytest.mark.parametrize(
    "value",
    [
        "--3",
        "9" * 5000,
        "-1",
        "1e5",
        "²",
        "",
        "a\tb",
        ["1", "2"],
        ["wait;dur=1", "hold;dur=1.2.3"],
        "wait;dur=" + "9" * 5000,
    ],
)
def test_no_header_breaks_anything(tmp_path: Path, value: Any) -> None:
    line = asked(1)
    names = ("Last-Seat-Worker", "Last-Seat-Epoch", "Retry-After", "Server-Timing", "Idempotency-Replayed")
    keep_fields(line, parse(b'{"order":"o1"}'), dict.fromkeys(names, value))
    assert outcome_of("buy", 201, parse(b"")) == "ok"
    recorder = Recorder(tmp_path / "history.jsonl")
    line.outcome = "ok"
    recorder.write(line)
    recorder.close()
    assert len(read_history(recorder.path)) == 1


@pytest.mark.parametrize("body", [b'{"data": 1e999, "ok": false}', b"<html>sold out</html>", DEEP, b'{"ok": "\xff"}'])
def test_an_answer_that_is_no_json_is_no_sale_where_a_field_would_say_so(body: bytes) -> None:
    buy = {"path": "/buy", "sold_out": {"field": "ok", "equals": False}}
    manners = TargetAdapter(msgspec.convert(TARGET | {"buy": buy}, type=Target))
    line = asked(1)
    manners.understand(line, 200, body, {})
    assert line.outcome != "ok"


# -- over the wire -----------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
OK_BODY = b'{"order":"o1","tickets":[1],"remaining":3,"version":1}'


@cache
def _bomb() -> bytes:
    packed = gzip.compress(b" " * (120 << 20))
    return HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed


BLOCK = b"x" * 65536
TWICE = b"Last-Seat-Worker: 1\r\nIdempotency-Replayed: true\r\n" * 2
ENDLESS = {
    "an endless body": (HEAD + b"\r\n", BLOCK),
    "endless chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + BLOCK + b"\r\n"),
    "an endless header": (HEAD + b"X-A: ", BLOCK),
    "endless headers": (HEAD, b"X-A: b\r\n" * 8000),
    "endless interim answers": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 2000),
}
ODD = {
    "an encoding of no kind": HEAD + b"Content-Encoding: rot13\r\nContent-Length: 2\r\n\r\n{}",
    "half a body": HEAD + b"Content-Length: 999\r\n\r\n{",
    "a length of no kind": HEAD + b"Content-Length: -5\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "no HTTP": b"\x00\xff\n\n" * 10,
    "a status of no kind": b"HTTP/1.1 999 \xff\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "the same header twice": HEAD + TWICE + b"Content-Length: %d\r\n\r\n" % len(OK_BODY) + OK_BODY,
}
KINDS = [*ENDLESS, *ODD, "a bomb"]


@contextmanager
def answering(kind: str) -> Iterator[str]:
    """A server that answers every request so, whatever it was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.close_connection = True
            begin, piece = ENDLESS.get(kind) or (ODD.get(kind) or _bomb(), b"")
            with suppress(OSError):
                self.wfile.write(begin)
                for _ in range(400_000 if piece else 0):
                    self.wfile.write(piece)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# Locust patches the standard library when it is imported: in a process of its own, whose memory is its own too.
BUYER = """
    import json, resource, sys
    from locust.contrib.fasthttp import FastHttpSession
    from locust.event import EventHook
    from pathlib import Path
    from loadtests.lab.load.client import Client, ClientContext
    from loadtests.lab.history.recorder import Recorder

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for url, history in zip(sys.argv[1::2], map(Path, sys.argv[2::2])):
        context = ClientContext(["show"], Recorder(history), first_process=0, seed=1, retries=0)
        session = FastHttpSession(url, EventHook(), None, concurrency=4, network_timeout=20.0)
        client = Client([session], context)
        client.buy(1)
        client.cancel("a\\r\\nX: y/../..?q#f")
        client.cancel("☃")
        client.read()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.servers
def test_a_buyer_outlives_every_answer_and_stays_small(tmp_path: Path) -> None:
    with ExitStack() as servers:
        words = [
            word for kind in KINDS for word in (servers.enter_context(answering(kind)), str(tmp_path / f"{kind}.jsonl"))
        ]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(BUYER), *words],
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64
    for kind in KINDS:
        lines = [json.loads(line) for line in (tmp_path / f"{kind}.jsonl").read_text().splitlines()]
        assert [line["op"] for line in lines] == ["buy", "cancel", "cancel", "read"]
        is_answer = kind in {"the same header twice", "a bomb", "an encoding of no kind"}
        assert lines[0]["outcome"] == ("ok" if is_answer else "unknown"), kind
        assert len(read_history(tmp_path / f"{kind}.jsonl")) == 4


@pytest.mark.servers
@pytest.mark.parametrize("kind", KINDS)
def test_the_labs_own_calls_end_in_an_error_that_is_told(kind: str) -> None:
    with answering(kind) as url:
        office = Office(url, "token")
        for call in (lambda: office.create_event("show", 1), office.guard, office.workers):
            try:
                found = call()
            except OfficeError as error:
                assert str(error)
                continue
            assert found is None, "no such answer says a guard, or how many workers there are"


@pytest.mark.servers
def test_an_audit_without_an_end_is_not_read_on() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with answering("an endless body") as url, pytest.raises(Unreachable, match="was not read on"):
        Office(url, None).audit("show")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 1500


@pytest.mark.servers
def test_a_server_that_drips_ends_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while not ended.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, *_: Any) -> None: ...

    ended = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no whole answer within 1 s"):
            Office(f"http://127.0.0.1:{server.server_port}").audit("show", timeout_s=0.2)
        assert time.monotonic() - began < 30
        ended.set()
        server.shutdown()
