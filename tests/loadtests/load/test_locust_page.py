"""What a page of another site, or whoever reaches locust, can make the lab do with locust's page: nothing."""

from __future__ import annotations

import http.client
import http.server
import json
import subprocess
import sys
import textwrap
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loadtests.lab.protocol.admin_api import Office, OfficeError
from loadtests.lab.servers.office import RunningOffice
from tests.loadtests.conftest import BUY, Sale
from tests.loadtests.load.test_buy import closed_port, fetch, state, wait_for

pytestmark = pytest.mark.servers

FORM = {"user_count": "2", "spawn_rate": "100", "capacity": "5"}
MIXED = BUY.with_name("mixed.py")
TOKEN = "the-token-of-this-office"  # not a secret: of a service that the test starts


class Elsewhere(NamedTuple):
    """A server that is not the office, and all that it was asked."""

    url: str
    asked: list[tuple[str, str, str | None]]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    asked: list[tuple[str, str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.command, self.path, self.headers.get("Authorization")))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Elsewhere(f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def started(self) -> bool:
        return self.status == 200 and bool(json.loads(self.body)["success"])


class Page:
    """Locust's page beside an office."""

    def __init__(self, office: RunningOffice, sale: Sale, port: int) -> None:
        self.office = office
        self.sale = sale
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ours = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}

    def send(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Content-Type": "application/x-www-form-urlencoded"} | (self.ours if headers is None else headers)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()

    def swarm(self, headers: dict[str, str] | None = None, **more: str) -> Answer:
        return self.send("POST", "/swarm", urllib.parse.urlencode(FORM | more), headers)

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in json.loads(fetch(f"{self.office.url}/events"))["events"]]


@pytest.fixture
def page(
    serve: Callable[..., RunningOffice], start_locust: Callable[..., Sale], request: pytest.FixtureRequest
) -> Page:
    """With the office's token on the command line."""
    office = serve(worker="gevent", guard="file", processes=1)
    token = (office.data / "admin-token").read_text().strip()
    port = closed_port()
    sale = start_locust(office, "--web-port", str(port), "--admin-token", token, *getattr(request, "param", ()))
    wait_for(lambda: '"Verdict"' in fetch(f"http://127.0.0.1:{port}"))
    return Page(office, sale, port)


def test_another_host_in_the_form_gets_neither_the_token_nor_a_buyer(page: Page, elsewhere: Elsewhere) -> None:
    assert not page.swarm(host=elsewhere.url).started
    assert page.swarm(host=page.office.url).started
    wait_for(lambda: state(page.url)["state"] == "stopped")
    assert not page.swarm(host=elsewhere.url).started
    assert elsewhere.asked == []
    assert json.loads(fetch(f"{page.url}/last-seat/verdict.json"))["acknowledged"] == 5


@pytest.mark.parametrize("page", [("--class-picker",)], indirect=True)
def test_another_host_in_the_settings_of_a_user_gets_nothing(page: Page, elsewhere: Elsewhere) -> None:
    for given in ({"host": elsewhere.url}, {"proxy_host": "127.0.0.1", "proxy_port": 1}):
        body = json.dumps({"user_class_name": "Buyer"} | given)
        assert page.send("POST", "/user", body, page.ours | {"Content-Type": "application/json"}).status == 403
    assert page.swarm(user_classes="Buyer").started
    wait_for(lambda: state(page.url)["state"] == "stopped")
    assert elsewhere.asked == []
    assert json.loads(fetch(f"{page.url}/last-seat/verdict.json"))["acknowledged"] == 5


def test_the_form_takes_none_of_what_stands_on_the_command_line(page: Page, tmp_path: Path) -> None:
    for field in (
        *("data", "results", "target", "into", "nodes", "admin_token", "i_own_this_host", "last_seat_notice"),
        *("web_host", "arrivals", "num_users"),
    ):
        refused = page.swarm(**{field: str(tmp_path / "given")})
        assert not refused.started
        assert field in refused.body
    assert state(page.url)["state"] == "ready"
    assert page.events == []
    assert not (tmp_path / "given").exists()


@pytest.mark.parametrize("page", [("-f", str(MIXED))], indirect=True)
def test_the_form_obeys_the_bounds_of_the_command_line(page: Page) -> None:
    for field, value in (
        *(("capacity", "0"), ("capacity", "many"), ("read_share", "1.5"), ("cancel_share", "nan"), ("rate", "-1")),
        *(("rate", "inf"), ("retries", "-1"), ("seed", "1.5"), ("hold", "0"), ("payment", "50-10"), ("patience", "")),
    ):
        refused = page.swarm(**{field: value})
        assert not refused.started, (field, value)
        assert field in json.loads(refused.body)["message"]
        assert "Nothing was started" in refused.body
    assert state(page.url)["state"] == "ready"
    assert page.events == []
    assert page.swarm(read_share="1", payment="5-10").started
    wait_for(lambda: state(page.url)["state"] == "stopped")


OTHER_SITES = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
    "a neighbour": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    "an old browser": {"Origin": "http://evil.example"},
    "a sandbox": {"Origin": "null"},
    "a rebound name": {"Host": "evil.example:8089", "Origin": "http://evil.example:8089"},
}


def test_another_sites_page_starts_stops_and_changes_nothing(page: Page) -> None:
    for path in ("/swarm", "/stop", "/stats/reset", "/user", "/last-seat/verdict.json"):
        for headers in OTHER_SITES.values():
            assert page.send("POST", path, urllib.parse.urlencode(FORM), headers).status in {403, 421}
    assert state(page.url)["state"] == "ready"
    assert page.events == []


def test_another_site_reads_nothing_and_frames_nothing(page: Page) -> None:
    for path in ("/", "/stats/requests", "/logs", "/tasks", "/last-seat/report.html", "/assets/x.js"):
        for method in ("GET", "OPTIONS"):
            asked = page.send(method, path, headers=OTHER_SITES["another site"])
            assert [name for name in asked.headers if name.startswith("access-control-")] == []
        assert asked.headers["cross-origin-resource-policy"] == "same-origin"
        assert asked.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in asked.headers["content-security-policy"]
        assert page.send("GET", path, headers={"Host": "evil.example"}).status == 421
    # What is no browser says nothing of sites, and may.
    assert page.swarm(headers={}).started
    wait_for(lambda: state(page.url)["state"] == "stopped")


# Locust patches the standard library when it is imported: in a process of its own.
STRANGER = """
    import json, sys
    from locust import __version__
    from locust.rpc import Message, zmqrpc
    stranger = zmqrpc.Client("127.0.0.1", int(sys.argv[1]), "stranger")
    stranger.send(Message("client_ready", __version__, "stranger"))
    print("ready", flush=True)
    while True:
        message = stranger.recv()
        if message.type == "spawn":
            print(json.dumps(message.data), flush=True)
            break
"""


def test_a_stranger_among_the_workers_is_not_told_the_token(
    serve: Callable[..., RunningOffice], start_locust: Callable[..., Sale]
) -> None:
    office = serve(worker="gevent", guard="file", processes=1)
    token = (office.data / "admin-token").read_text().strip()
    port, rpc = closed_port(), closed_port()
    start_locust(
        office, "--master", "--master-bind-port", str(rpc), "--web-port", str(port), "--admin-token", token
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    wait_for(lambda: '"Verdict"' in fetch(url))
    assert listening(rpc) == {"0100007F"}, "the master can be reached from other machines"
    stranger = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STRANGER), str(rpc)], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: state(url).get("worker_count") == 1)
        fetch(f"{url}/swarm", urllib.parse.urlencode(FORM).encode())
        told, _ = stranger.communicate(timeout=150)
    finally:
        stranger.kill()
        stranger.wait()
    assert '"capacity": 5' in told
    assert token not in told


def listening(port: int) -> set[str]:
    """The addresses at which the port is listened on, as the kernel writes them."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            address, _, number = line.split()[1].rpartition(":")
            if int(number, 16) == port and line.split()[3] == "0A":
                found.add(address)
    return found


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_follows_no_redirection(elsewhere: Elsewhere, status: int) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status)
            self.send_header("Location", f"{elsewhere.url}/taken")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        office = Office(f"http://127.0.0.1:{server.server_port}", TOKEN)
        for call in (
            lambda: office.create_event("show", 1),
            lambda: office.audit("show"),
            office.guard,
            lambda: office.switch("none"),
        ):
            with pytest.raises(OfficeError):
                call()
        assert office.ready() is None
        server.shutdown()
    assert elsewhere.asked == []
