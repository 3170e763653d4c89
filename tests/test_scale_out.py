"""``docs/scale-out.md``, tried as it is written: its commands, its nginx, its settings."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import one_host
import pytest
from nginx import find_nginx
from typed import JSON, TOKEN, Typed

from loadtests.lab.servers import process
from loadtests.lab.servers.nodes import RunningNodes
from loadtests.lab.servers.office import Service
from loadtests.lab.servers.valkey import find_valkey
from service.settings import from_environment

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale-out.md"
EXAMPLE = ROOT / "examples" / "scale-out"


def commands() -> str:
    """The commands of the page that say they were tried."""
    found = re.search(r"<!-- tried -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def free_ports() -> int:
    """A number such that itself with 0, 1, 2, 3 or 4 behind it is a free port."""
    for base in range(2_000 + os.getpid() % 1_000, 3_200):
        with ExitStack() as held:
            try:
                for last in range(5):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", base * 10 + last))
            except OSError:
                continue
            return base
    raise AssertionError("no five free ports in a row")


def with_ports(text: str, ports: dict[int, int]) -> str:
    return re.sub(r"\b(8001|8002|8003|8080|6379)\b", lambda found: str(ports[int(found[1])]), text)


@pytest.mark.servers
def test_the_commands_of_the_page_do_what_they_say(tmp_path: Path) -> None:
    base = free_ports()
    ports = {8001: base * 10 + 1, 8002: base * 10 + 2, 8003: base * 10 + 3, 8080: base * 10 + 4, 6379: base * 10}
    conf = tmp_path / "nginx.conf"
    conf.write_text(with_ports((EXAMPLE / "nginx.conf").read_text(), ports))
    script = with_ports(commands(), ports).replace("800$node", f"{base}$node")
    assert script.count("$PWD/examples/scale-out/nginx.conf") == 1
    script = script.replace("$PWD/examples/scale-out/nginx.conf", str(conf))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(find_valkey())
    (programs / "nginx").symlink_to(find_nginx())
    (tmp_path / "tmp").mkdir()
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LASTSEAT_", "LOCUST_"))}
    ran = subprocess.Popen(
        ["bash", "-c", script.replace('export PATH="$PWD/.venv/bin:$PATH"\n', "")],
        cwd=ROOT,
        env=environment | {"PATH": path, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = ran.communicate(timeout=120)
    finally:
        process.kill(ran)  # type: ignore[arg-type]
    assert ran.returncode == 0, said
    assert "made the office {lastseat}" in said
    assert "valid: no violation found" in said
    assert re.search(r"The guard is optimistic, in epoch \d+", said)
    assert re.search(r'"order":"o\w+".*"tickets":\[1,2\]', said)


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "nginx-tmp").mkdir()
    done = subprocess.run(
        [find_nginx(), "-t", "-p", str(tmp_path), "-c", str(EXAMPLE / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start the example's nginx before some nodes; its address."""
    with ExitStack() as running:

        def start(ports: list[int], change: Callable[[str], str] = lambda text: text) -> str:
            base = free_ports()
            conf, folder = tmp_path / "nginx.conf", tmp_path / "nginx"
            (folder / "nginx-tmp").mkdir(parents=True)
            places = dict(zip((8001, 8002, 8003), ports, strict=True)) | {8080: base * 10}
            conf.write_text(change(with_ports((EXAMPLE / "nginx.conf").read_text(), places)))
            nginx = process.start(
                [find_nginx(), "-p", str(folder), "-c", str(conf), "-g", "daemon off;"],
                log=tmp_path / "nginx.log",
                environment={"PATH": os.environ["PATH"]},
                directory=folder,
            )
            running.callback(process.end, nginx, grace_s=5)
            url = f"http://127.0.0.1:{base * 10}"
            for _ in range(500):
                try:
                    urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert nginx.poll() is None, (tmp_path / "nginx.log").read_text()
                    threading.Event().wait(0.01)
                else:
                    break
            return url

        yield start


def post(url: str, key: str = "") -> int:
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    request = urllib.request.Request(f"{url}/events/x/orders", b'{"quantity":1}', headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


class Asked:
    """Upstreams that note the keys they are asked under; the first one to be asked closes without an answer."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.fails = False

    def server(self) -> ThreadingHTTPServer:
        asked = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(204)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                asked.keys.append(self.headers["Idempotency-Key"])
                asked.paths.append(self.path)
                if asked.fails:
                    asked.fails = False
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.answer(201)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def asked() -> Iterator[tuple[Asked, list[int]]]:
    """Three such upstreams, and their ports."""
    noted = Asked()
    servers = [noted.server() for _ in range(3)]
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in servers]
    for thread in threads:
        thread.start()
    yield noted, [server.server_port for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join(10)


@pytest.mark.servers
def test_without_the_keys_line_the_proxy_repeats_a_purchase_that_nobody_can_tell_from_a_new_one(
    proxy: Callable[..., str], asked: tuple[Asked, list[int]]
) -> None:
    noted, ports = asked
    line = "proxy_set_header   Idempotency-Key $operation_key;"
    url = proxy(ports, lambda text: text.replace(line, ""))
    noted.fails = True
    assert post(url) == 201
    assert noted.keys == [None, None]


@pytest.mark.servers
def test_what_the_proxy_repeats_at_another_node_has_the_same_key(
    proxy: Callable[..., str], asked: tuple[Asked, list[int]]
) -> None:
    noted, ports = asked
    url = proxy(ports)
    noted.fails = True
    assert post(url) == 201
    assert post(url) == 201
    first, again, other = noted.keys
    assert first == again != other
    assert first
    noted.keys.clear()
    noted.fails = True
    assert post(url, "my-own") == 201
    assert noted.keys == ["my-own", "my-own"]
    assert set(noted.paths) == {"/events/x/orders"}


@pytest.mark.servers
def test_a_node_killed_behind_the_proxy_is_not_noticed_by_buyers_and_nothing_is_sold_twice(
    proxy: Callable[..., str], tmp_path: Path
) -> None:
    service = Service(worker="gevent", processes=1, store="redis", guard="on", nodes=3)
    with RunningNodes(service, tmp_path / "nodes") as nodes:
        nodes.office.create_event("x", 1_000)
        url = proxy([int(node.url.rpartition(":")[2]) for node in nodes.nodes])
        answers: list[int] = []
        buyers = [threading.Thread(target=lambda: answers.extend(post(url) for _ in range(25))) for _ in range(4)]
        for buyer in buyers:
            buyer.start()
        while len(nodes.office.audit("x").splitlines()) < 10:
            assert any(buyer.is_alive() for buyer in buyers)
        os.killpg(nodes.nodes[1].pid, signal.SIGKILL)
        for buyer in buyers:
            buyer.join(60)
        sold = len(nodes.office.audit("x").splitlines()) - 1
    assert answers == [201] * 100
    assert sold == 100


def example_settings() -> dict[str, str]:
    lines = [line for line in (EXAMPLE / "office.env").read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


HOST = {"Host": "tickets.example.org"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Typed]]:
    """Start a node with the settings of the example, but for its engine."""
    with ExitStack() as running:

        def start(arguments: str = "-k sync -w 1", **more: str) -> Typed:
            own = {"LASTSEAT_STORE": "memory", "LASTSEAT_EVENT": "show:1000", "LASTSEAT_DATA": str(tmp_path / "data")}
            settings = {**example_settings(), "LASTSEAT_ADMIN_TOKEN": TOKEN, "LASTSEAT_WORKER_MODEL": "sync"}
            return running.enter_context(Typed(f"{arguments} service:app", tmp_path / "node", **settings | own | more))

        yield start


def buy_from(source: str, port: int, **headers: str) -> int:
    """Buy a ticket from an address of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    with closing(connection):
        connection.request("POST", "/events/show/orders", b'{"quantity":1}', JSON | HOST | headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def named(number: int) -> dict[str, str]:
    """What a client sends that wants to be taken for another one each time."""
    return {"X-Forwarded-For": f"6.6.6.{number}", "Forwarded": f"for=6.6.6.{number}"}


@pytest.mark.servers
def test_behind_a_proxy_that_hands_on_what_clients_say_a_client_names_itself(
    proxy: Callable[..., str], node: Callable[..., Typed]
) -> None:
    own = "proxy_set_header   X-Forwarded-For $remote_addr;"
    url = proxy([node(LASTSEAT_RATE="0.001:2").port] * 3, lambda text: text.replace(own, ""))
    assert [buy_from("127.0.0.2", port_of(url), **named(number)) for number in range(4)] == [201] * 4


@pytest.mark.servers
def test_behind_the_example_each_client_has_a_limit_of_its_own_and_none_can_name_itself(
    proxy: Callable[..., str], node: Callable[..., Typed]
) -> None:
    port = port_of(proxy([node(LASTSEAT_RATE="0.001:2").port] * 3))
    for client in ("127.0.0.2", "127.0.0.3"):
        assert [buy_from(client, port, **named(number)) for number in range(4)] == [201, 201, 429, 429]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


HALF_A_HEAD = b"POST /events/show/orders HTTP/1.1\r\nHost: localhost\r\nX-"
HALF_A_BODY = (
    b"POST /events/show/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 14\r\n\r\n{"quan'
)


@contextmanager
def half_sent(port: int, number: int, what: bytes = HALF_A_HEAD) -> Iterator[None]:
    """So many clients that have sent a part of a request and wait, inside this block."""
    with ExitStack() as clients:
        for _ in range(number):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.sendall(what)
        yield


@pytest.mark.servers
@pytest.mark.parametrize("what", [HALF_A_HEAD, HALF_A_BODY], ids=["heads", "bodies"])
@pytest.mark.parametrize(("worker", "threads"), [("sync", 1), ("gthread --threads 3", 3)])
def test_as_many_half_sent_requests_as_threads_stop_a_node_that_no_proxy_stands_before(
    node: Callable[..., Typed], worker: str, threads: int, what: bytes
) -> None:
    """The negative control, and what ``docs/security.md`` says."""
    office = node(f"-k {worker} -w 1")
    answers: list[int] = []
    buyer = threading.Thread(target=lambda: answers.append(buy_from("127.0.0.1", office.port)))
    with half_sent(office.port, threads, what):
        buyer.start()
        buyer.join(1.0)
        assert buyer.is_alive()
    buyer.join(30)
    assert answers == [201]


@pytest.mark.servers
@pytest.mark.parametrize("what", [HALF_A_HEAD, HALF_A_BODY], ids=["heads", "bodies"])
def test_under_gevent_four_hundred_half_sent_requests_stop_nobody(node: Callable[..., Typed], what: bytes) -> None:
    office = node("-k gevent -w 1", LASTSEAT_WORKER_MODEL="gevent", LASTSEAT_RATE="1000:1000")
    with half_sent(office.port, 400, what):
        assert buy_from("127.0.0.1", office.port) == 201


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["sync", "gthread --threads 3"])
def test_behind_the_example_half_sent_requests_reach_no_node(
    proxy: Callable[..., str], node: Callable[..., Typed], worker: str
) -> None:
    port = port_of(proxy([node(f"-k {worker} -w 1").port] * 3))
    with half_sent(port, 400), half_sent(port, 100, HALF_A_BODY):
        assert [buy_from("127.0.0.2", port) for _ in range(3)] == [201] * 3


def test_the_settings_of_the_example_are_settings() -> None:
    settings = from_environment(example_settings())
    assert (settings.store, settings.guard, settings.first_event) == ("postgres", "", None)
    assert "EnvironmentFile=/etc/lastseat/office.env" in (EXAMPLE / "node.conf").read_text()
    assert one_host.unit("StateDirectory") == settings.data.name


@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_systemd_understands_a_node_beside_the_unit_of_one_host(tmp_path: Path, example: bool) -> None:
    node, of_one_host = (EXAMPLE / "node.conf").read_text(), (one_host.EXAMPLE / "lastseat.service").read_text()
    said = one_host.about_unit(tmp_path, of_one_host, node if example else node.replace("ExecStart=\n", ""))
    assert bool(said) != example, said
