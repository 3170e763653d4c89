"""``examples/one-host``: its nginx before its office, and its unit. Its backup is in ``test_backup.py``.

No systemd runs here. The unit's command runs with the unit's settings, and systemd's own tool reads the unit.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import nginx
import psutil
import pytest
from one_host import EXAMPLE, NAME, STATE, Office, about_unit, analyze, settings, unit, wide
from typed import JSON, Answer, free_port, send, wait_for

from service.settings import from_environment

SITE = (EXAMPLE / "nginx.conf").read_text()
Change = Callable[[str], str]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the name of the shop that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.fail("there is no openssl: sudo apt-get install openssl")
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", chain],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return chain, key


class Outside:
    """Someone on the other side of nginx, who believes the shop's certificate alone."""

    def __init__(self, plain: int, port: int, chain: Path) -> None:
        self.plain, self.port, self.chain = plain, port, chain

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.chain))

    def call(
        self, method: str, path: str, content: bytes | None = None, *, source: str = "127.0.0.1", **headers: str
    ) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0)) as plain:
            connection = http.client.HTTPConnection(NAME)
            with closing(connection):
                connection.sock = self.context().wrap_socket(plain, server_hostname=NAME)
                connection.request(method, path, content, {"Host": NAME, **JSON, **names})
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]

    def buy(self, **more: str) -> Answer:
        return self.call("POST", "/events/gala/orders", b'{"quantity":1}', **more)


def placed(folder: Path, office: int, change: Change = lambda text: text) -> tuple[Path, Outside]:
    """The example's site with free ports of this machine, and a certificate made for it; without IPv6, which the
    machine may not have."""
    chain, key = certificate(folder)
    plain, port = free_port(), free_port()
    places = {
        "listen      80;": f"listen 127.0.0.1:{plain};",
        "listen      443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/letsencrypt/live/tickets.example.org/fullchain.pem": str(chain),
        "/etc/letsencrypt/live/tickets.example.org/privkey.pem": str(key),
        "root /var/www/html;": f"root {folder};",
        "http://127.0.0.1:8000;": f"http://127.0.0.1:{office};",
    }
    site = re.sub(r"(?m)^.*\[::\].*\n", "", SITE)
    for there, here in places.items():
        assert site.count(there) == 1, there
        site = site.replace(there, here)
    conf = folder / "nginx.conf"
    conf.write_text(nginx.around(change(site), folder))
    return conf, Outside(plain, port, chain)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[..., tuple[Office, Outside]]]:
    """Start the office of the page, with the event ``gala``, and nginx before it."""
    with ExitStack() as running:

        def start(change: Change = lambda text: text, **variables: str) -> tuple[Office, Outside]:
            office = running.enter_context(Office(tmp_path / "state", **variables))
            office.make_event('{"event":"gala","capacity":100}')
            folder = tmp_path / "nginx"
            folder.mkdir()
            conf, outside = placed(folder, office.port, change)
            running.enter_context(nginx.running(conf, outside.port))
            return office, outside

        yield start


def without(*lines: str) -> Change:
    """The site without these lines, which stand in it once."""

    def change(site: str) -> str:
        for line in lines:
            site, count = re.subn(rf"(?m)^ *{re.escape(line)}.*\n", "", site)
            assert count == 1, line
        return site

    return change


# -- nginx ------------------------------------------------------------------------------------------------------------


def test_nginx_accepts_the_site(tmp_path: Path) -> None:
    conf, _ = placed(tmp_path, 8000)
    assert nginx.test(conf).returncode == 0, nginx.test(conf).stderr
    conf.write_text(conf.read_text().replace("proxy_pass ", "proxy_pas "))
    assert nginx.test(conf).returncode == 1


@pytest.mark.servers
def test_a_ticket_is_bought_through_tls_and_without_it_a_buyer_is_led_there(
    shop: Callable[..., tuple[Office, Outside]],
) -> None:
    office, outside = shop()
    challenge = outside.chain.parent / ".well-known" / "acme-challenge" / "token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("of a new certificate")
    page = outside.call("GET", "/")
    assert (page.status, page.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
    bought = outside.buy(Idempotency_Key="mine", Origin=f"https://{NAME}", Sec_Fetch_Site="same-origin")
    again = outside.buy(Idempotency_Key="mine")
    assert (bought.status, again.status) == (201, 201)
    assert again.json["order"] == bought.json["order"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(office.audit("gala")) == 1
    order = f"/events/gala/orders/{bought.json['order']}"
    led = send(outside.plain, "GET", order, None, {"Host": "other.example.org"})
    assert (led.status, led.headers["Location"]) == (308, f"https://{NAME}{order}")
    assert send(outside.plain, "GET", "/.well-known/acme-challenge/token", None, {}).content == challenge.read_bytes()
    assert outside.call("POST", "/events/gala/orders", b" " * (1 << 17)).status == 413


def handshake(outside: Outside, version: ssl.TLSVersion) -> str | None:
    """The version of TLS that was agreed on, where this one is the client's only one; None where there is none."""
    context = outside.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection(("127.0.0.1", outside.port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as encrypted,
        ):
            return encrypted.version()
    except (ssl.SSLError, ConnectionResetError):
        return None


@pytest.mark.servers
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("allowed", ["TLSv1.1 TLSv1.2", "TLSv1.2 TLSv1.3"], ids=["control", "example"])
def test_what_is_older_than_tls_1_2_is_refused(tmp_path: Path, allowed: str) -> None:
    """With ciphers that old versions have: the distribution's OpenSSL would hide what the site says."""
    line = "ssl_protocols       TLSv1.2 TLSv1.3;"
    conf, outside = placed(tmp_path, 8000, lambda site: site.replace(line, f"ssl_protocols {allowed};"))
    assert line in SITE
    conf.write_text(conf.read_text().replace("ssl_protocols", "ssl_ciphers ALL:@SECLEVEL=0;\nssl_protocols"))
    with nginx.running(conf, outside.port):
        agreed = [handshake(outside, getattr(ssl.TLSVersion, f"TLSv1_{minor}")) for minor in (1, 2, 3)]
    expected = [name if name in allowed.split() else None for name in ("TLSv1.1", "TLSv1.2", "TLSv1.3")]
    assert agreed == expected


@pytest.mark.servers
@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_each_client_has_a_limit_of_its_own_and_none_can_name_itself(
    shop: Callable[..., tuple[Office, Outside]], example: bool
) -> None:
    own = without("proxy_set_header   X-Forwarded-For", "proxy_set_header   Forwarded")
    # One process: each counts for itself.
    _, outside = shop(*([] if example else [own]), arguments="--processes 1", LASTSEAT_RATE="0.001:2")
    for client in ("127.0.0.2", "127.0.0.3"):
        names = [f"6.6.{client[-1]}.{number}" for number in range(4)]
        answers = [outside.buy(source=client, X_Forwarded_For=name, Forwarded=f"for={name}") for name in names]
        assert [each.status for each in answers] == ([201, 201, 429, 429] if example else [201] * 4)


@pytest.mark.servers
@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_the_office_sees_the_name_that_was_asked_for(
    shop: Callable[..., tuple[Office, Outside]], example: bool
) -> None:
    _, outside = shop(*([] if example else [without("proxy_set_header   Host")]))
    other = outside.call("GET", "/events/gala", Host="evil.example.net")
    own = outside.buy(Origin=f"https://{NAME}")
    assert (other.status, own.status) == ((421, 201) if example else (200, 403))


@pytest.mark.servers
@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_the_token_opens_nothing_from_outside_and_all_on_the_host(
    shop: Callable[..., tuple[Office, Outside]], example: bool
) -> None:
    office, outside = shop(*([] if example else [without("proxy_set_header   Authorization")]))
    calls = [
        ("POST", "/events", b'{"event":"more","capacity":1}', 201),
        ("GET", "/events/gala/audit", None, 200),
        ("PUT", "/guard", b'{"guard":"on"}', 200),
        ("DELETE", "/events/gala", None, 204),
    ]
    for method, path, content, done in calls:
        from_outside = outside.call(method, path, content, **office.admin)
        if example:
            assert (from_outside.status, from_outside.code) == (401, "unauthorized")
            from_outside = office.call(method, path, content)
        assert from_outside.status == done, (method, path)


@pytest.mark.servers
@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_metrics_are_for_the_host_alone_however_the_address_is_spelled(
    shop: Callable[..., tuple[Office, Outside]], example: bool
) -> None:
    block = r"    location = /metrics \{\n.*?\n    \}\n"
    assert re.search(block, SITE, re.DOTALL)
    office, outside = shop(*([] if example else [lambda site: re.sub(block, "", site, flags=re.DOTALL)]))
    assert b"lastseat_workers" in office.call("GET", "/metrics").content
    spellings = ["/metrics", "/metrics?x", "//metrics", "/%6detrics", "/./metrics", "/docs/../metrics", "/metrics/"]
    answers = [outside.call("GET", each) for each in spellings]
    assert [each for each in answers if b"lastseat_" in each.content] == [] or not example
    assert answers[0].status == (404 if example else 200)


# -- the unit ---------------------------------------------------------------------------------------------------------


def test_the_settings_are_settings_and_fit_the_unit() -> None:
    asked = from_environment({name: value for name, value in settings().items() if name.startswith("LASTSEAT_")})
    assert (asked.store, asked.proxies, asked.hosts, asked.admin_token) == ("journal", 1, (NAME,), None)
    assert str(asked.data) == f"{STATE}/data" == f"/var/lib/{unit('StateDirectory')}/data"
    assert (unit("StateDirectoryMode"), unit("UMask")) == ("0700", "0077")
    assert unit("EnvironmentFile") == "/etc/lastseat/lastseat.env"


@pytest.mark.parametrize("example", [False, True], ids=["control", "example"])
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path, example: bool) -> None:
    text = (EXAMPLE / "lastseat.service").read_text()
    said = about_unit(tmp_path, text if example else text.replace("ProtectSystem=strict", "ProtectSystem=very"))
    assert bool(said) != example, said


def allowed_calls() -> set[str]:
    """The system calls that the unit allows, its sets written out."""
    allowed, unread = set[str](), [unit("SystemCallFilter")]
    while unread:
        name = unread.pop()
        if not name.startswith("@"):
            allowed.add(name)
            continue
        lines = analyze("syscall-filter", name).stdout.split("\n")[1:]
        unread += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return allowed


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["gevent", "sync"])
def test_the_office_does_nothing_that_the_unit_does_not_allow(tmp_path: Path, worker: str) -> None:
    """It makes no other system calls, opens no other kinds of sockets, and opens nothing for writing elsewhere."""
    allowed = allowed_calls()
    assert "fdatasync" in allowed
    assert "mount" not in allowed
    trace = tmp_path / "trace"
    strace = shutil.which("strace")
    assert strace, "there is no strace: sudo apt-get install strace"
    # -D: the office is the process that is started, and strace the other one.
    through = [strace, "-D", "-f", "-q", "-e", "signal=none", "-o", str(trace)]
    with Office(tmp_path / "state", through=through, arguments=f"--worker {worker}") as office:
        office.make_event('{"event":"gala","capacity":100}')
        office.make_event('{"event":"tour","capacity":100}')
        assert office.call("POST", "/events/gala/orders", b'{"quantity":1}').status == 201
        items = b'{"items":[{"event":"gala","quantity":1},{"event":"tour","quantity":1}]}'
        assert office.call("POST", "/carts", items).status == 201
        assert office.call("PUT", "/guard", b'{"guard":"on"}').status == 200
        assert office.call("DELETE", "/events/tour?even_if_sold=1").status == 204
        office.stop()
        last = re.compile(rf"^{office.pid} +\+\+\+ exited with 0", re.MULTILINE)
        wait_for(lambda: last.search(trace.read_text(errors="replace")), "strace has written all")
    told = trace.read_text(errors="replace")
    made = set(re.findall(r"^\d+ +(\w+)\(", told, re.MULTILINE))
    assert {"fdatasync", "prlimit64"} <= made
    assert made - allowed == set()
    families = set(re.findall(r"\bsocket\((AF_\w+)", told))
    assert {"AF_UNIX"} < families <= set(unit("RestrictAddressFamilies").split())
    hosts = set(re.findall(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', told))
    assert {name for pair in hosts for name in pair if name} <= {"127.0.0.1", "::1", "0.0.0.0"}
    written = set(re.findall(r'\bopen(?:at)?\((?:AT_FDCWD, )?"([^"\n]+)", [^)\n]*O_(?:WRONLY|RDWR|CREAT)', told))
    places = (str(office.folder), "/dev/shm/", "/dev/null", "/proc/self/")
    assert any(each.startswith(str(office.data)) for each in written)
    assert {each for each in written if not each.startswith(places) and "__pycache__" not in each} == set()


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["gevent", "sync"])
def test_the_unit_starts_an_office_that_says_when_it_listens_and_ends_as_a_whole(tmp_path: Path, worker: str) -> None:
    """Under ``sync`` there is a combiner, too."""
    assert (unit("Type"), unit("KillMode"), unit("KillSignal")) == ("notify", "mixed", "SIGTERM")
    with Office(tmp_path / "state", arguments=f"--worker {worker}") as office:
        assert office.notified[0].startswith("READY=1")
        office.make_event('{"event":"gala","capacity":100}')
        assert office.call("POST", "/events/gala/orders", b'{"quantity":1}').status == 201
        assert (office.call("GET", "/events").json["events"][0]["event"], len(office.audit("gala"))) == ("gala", 1)
        everything = psutil.Process(office.pid).children(recursive=True)
        combiners = [each for each in everything if "host_line.combiner" in " ".join(each.cmdline())]
        assert len(combiners) == (worker == "sync")
        assert wide(office.data) == []
        assert (office.data / "admin-token").stat().st_mode & 0o777 == 0o600
        office.stop()
