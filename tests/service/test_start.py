"""Starting as people type it: it sells at once, or it refuses with the reason and the remedy, and no traceback."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import disks
import pytest
from typed import CHECKOUT, Typed, environment, wait_for

pytestmark = pytest.mark.servers


# -- it sells ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", ["service:app", "-k gthread --threads 16 service:app", "-k gevent service:app"], ids=str
)
def test_as_typed_in_an_empty_directory_it_sells_a_ticket(tmp_path: Path, arguments: str) -> None:
    with Typed(arguments, tmp_path / "empty") as server:
        assert server.buy().json["tickets"] == [1]
        assert [each["kind"] for each in server.records()] == ["sold"]
        assert (tmp_path / "empty" / "data" / "events" / "show.json").exists()
        assert "refused" not in server.said
        server.end()
        assert "Traceback" not in server.said


def test_as_a_module_of_python_it_sells_a_ticket(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "empty", program=(sys.executable, "-m", "gunicorn")) as server:
        assert server.buy().status == 201


def test_in_the_checkout_two_servers_live_side_by_side_with_several_processes_each(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ExitStack() as running:
        servers = [
            running.enter_context(
                Typed("service:app", CHECKOUT, home=home / name, LASTSEAT_DATA=str(tmp_path / name), HOME=str(home))
            )
            for name in ("first", "second")
        ]
        for server in servers:
            wait_for(lambda server=server: len(server.workers()) == 4, "four workers")  # type: ignore[misc]
            assert server.buy().status == 201
            assert len(server.records()) == 1
            assert "Control socket" not in server.said
        assert not (home / ".gunicorn").exists()


def test_without_the_checkouts_settings_gunicorn_opens_a_control_socket_for_the_whole_user(tmp_path: Path) -> None:
    """The negative control of the one above: what the second server would take from the first."""
    with Typed("service:app", tmp_path / "empty") as server:
        wait_for(lambda: "Control socket listening" in server.said, "the control socket")


@pytest.mark.parametrize("listens", ["a port", "a socket"])
def test_no_header_says_under_which_address_a_request_came_whatever_gunicorn_was_told(
    tmp_path: Path, listens: str
) -> None:
    """Else a proxy on this host that refuses ``/metrics`` would let it through as ``/readyz/metrics``."""
    said = {"SCRIPT_NAME": "/readyz", "X-Forwarded-Proto": "https"}
    unix = tmp_path / "s"
    with Typed(
        ["service:app", *(["-b", f"unix:{unix}"] if listens == "a socket" else [])], tmp_path / "empty"
    ) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        if listens == "a socket":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(unix))
        connection.request("GET", "/readyz/metrics", headers=said)
        assert connection.getresponse().status == 404
        connection.close()


def test_a_worker_model_that_gunicorn_did_not_read_is_said_to_be_without_effect(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "empty", LASTSEAT_WORKER_MODEL="gevent") as server:
        assert "LASTSEAT_WORKER_MODEL=gevent has no effect" in server.said
        assert "-c python:workers.gunicorn_conf" in server.said
    settings = "-c python:workers.gunicorn_conf service:app"
    with Typed(settings, tmp_path / "another", LASTSEAT_WORKER_MODEL="gevent") as server:
        assert "Using worker: gevent" in server.said
        assert "has no effect" not in server.said


@pytest.mark.parametrize("guard", ["thread", "none"])
def test_an_unsafe_pairing_starts_where_it_is_allowed(tmp_path: Path, guard: str) -> None:
    variables = {"LASTSEAT_GUARD": guard, "LASTSEAT_ALLOW_UNSAFE": "1"}
    with Typed("-w 2 service:app", tmp_path / "empty", **variables) as server:
        assert server.call("GET", "/guard").json["guard"] == guard
        assert server.buy().status == 201


# -- it refuses -------------------------------------------------------------------------------------------------------


def nothing(directory: Path) -> None:
    """No preparation."""


def a_file_for_data(directory: Path) -> None:
    (directory / "data").write_text("these are not the tickets\n")


def an_import_of_filelock(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text("import filelock\n")


def the_checkouts_settings(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text((CHECKOUT / "gunicorn.conf.py").read_text())


def in_data(name: str, content: bytes) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "data").mkdir()
        (directory / "data" / name).write_bytes(content)

    return write


@dataclass(frozen=True)
class Refused:
    """What is typed, and what the refusal must name: the reason and the remedy."""

    says: tuple[str, ...]
    arguments: str = "service:app"
    variables: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = nothing


def setting(name: str, value: str, *says: str) -> Refused:
    return Refused((f"LASTSEAT_{name}", *says), variables={f"LASTSEAT_{name}": value})


REFUSED: dict[str, Refused] = {
    "a data directory that is a file": Refused(
        ("data cannot be written", "File exists", "LASTSEAT_DATA name another"), prepare=a_file_for_data
    ),
    "a data directory below a file": Refused(
        ("Not a directory", "LASTSEAT_DATA name another"),
        variables={"LASTSEAT_DATA": "data/below"},
        prepare=a_file_for_data,
    ),
    "an unknown setting": setting("GAURD", "on", "is not a setting", "LASTSEAT_GUARD,"),
    "an unknown store": setting("STORE", "paper", "'paper'", "json, journal, memory"),
    "an unknown guard": setting("GUARD", "hope", "'hope'", "on, off, none, thread, file"),
    "an unfit guard": Refused(
        ("'file' does not fit store 'memory'", "none, thread"),
        variables={"LASTSEAT_STORE": "memory", "LASTSEAT_GUARD": "file"},
    ),
    "a lock time-out in words": setting("LOCK_TIMEOUT_S", "soon", "'soon'", "number from 0.01"),
    "a thinking time that is negative": setting("THINK_MS", "-5", "'-5'", "like 20 or 10-50"),
    "a batch of none": setting("BATCH", "0", "whole number from 1"),
    "a first event without a capacity": setting("EVENT", "show", "'show'", "like show:100"),
    "a scope that is none": setting("GUARD_SCOPE", "everything", "decision, request"),
    "an allowance in words": setting("ALLOW_UNSAFE", "yes", "'yes'", "0, 1"),
    "a token of blanks": setting("ADMIN_TOKEN", "  ", "ASCII"),
    "a preloaded application": Refused(
        ("--preload", "dead in the workers", "without --preload"), "--preload service:app"
    ),
    "a preloaded application under gevent": Refused(
        ("--preload", "excludes no greenlet", "without --preload"), "--preload -k gevent service:app"
    ),
    "guard thread with several processes": Refused(
        ("there are 2 processes", "oversell", "LASTSEAT_GUARD=file", "LASTSEAT_ALLOW_UNSAFE=1"),
        "-w 2 service:app",
        {"LASTSEAT_GUARD": "thread"},
    ),
    "guard thread in the checkout": Refused(
        ("there are 4 processes", "LASTSEAT_GUARD=file"),
        variables={"LASTSEAT_GUARD": "thread"},
        prepare=the_checkouts_settings,
    ),
    "store memory with several processes": Refused(
        ("there are 4", "sell all tickets anew", "LASTSEAT_STORE=json", "--workers 1"),
        "-w 4 -k gthread --threads 4 service:app",
        {"LASTSEAT_STORE": "memory"},
    ),
    "store memory with several processes under gevent": Refused(
        ("there are 3", "LASTSEAT_STORE=json"), "-w 3 -k gevent service:app", {"LASTSEAT_STORE": "memory"}
    ),
    "a lock time-out as long as gunicorn's": Refused(
        ("LASTSEAT_LOCK_TIMEOUT_S=5 is not shorter", "--timeout 5", "Shorten the one"), "--timeout 5 service:app"
    ),
    "filelock imported before gevent's patch": Refused(
        ("imported before gevent's monkey patch", "every greenlet in", "Do not import filelock in gunicorn.conf.py"),
        "-k gevent service:app",
        prepare=an_import_of_filelock,
    ),
    "a damaged switch": Refused(
        ("guard.json is damaged", "remove that file and start again"), prepare=in_data("guard.json", b'{"guard":"fi')
    ),
    "a switch in no encoding": Refused(
        ("guard.json is damaged", "remove that file"),
        prepare=in_data("guard.json", b'{"guard":"\xff","epoch":1,"master":""}'),
    ),
    "a switch of an impossible epoch": Refused(
        ("guard.json is damaged", "remove that file"),
        prepare=in_data("guard.json", b'{"guard":"file","epoch":9223372036854775807,"master":"1"}'),
    ),
    "an empty admin token": Refused(
        ("admin-token is empty or damaged", "Remove it"),
        variables={"LASTSEAT_ADMIN_TOKEN": ""},
        prepare=in_data("admin-token", b"\n"),
    ),
    "a secret of payment that can be guessed": Refused(
        ("pay-secret is empty or damaged, or too short", "Remove it"),
        variables={"LASTSEAT_PAY_URL": "https://pay.example"},
        prepare=in_data("pay-secret", b"short\n"),
    ),
    "a secret of payment without a page": Refused(
        ("LASTSEAT_PAY_SECRET needs LASTSEAT_PAY_URL",), variables={"LASTSEAT_PAY_SECRET": "s" * 32}
    ),
}  # fmt: skip


def refusal(server: Typed) -> str:
    """Launch what will be refused; everything that every refusal has in common is asserted here."""
    assert server.launch().status_at_exit() != 0
    assert "Traceback" not in server.said
    assert server.said.count("refused to start") == 1, server.said
    return next(line for line in server.said.splitlines() if "refused to start" in line)


@pytest.mark.parametrize("claim", REFUSED)
def test_it_refuses_with_the_reason_and_the_remedy(tmp_path: Path, claim: str) -> None:
    refused = REFUSED[claim]
    directory = tmp_path / "here"
    directory.mkdir()
    refused.prepare(directory)
    said = refusal(Typed(refused.arguments, directory, **refused.variables))
    for each in refused.says:
        assert each in said


def test_a_damaged_control_file_is_made_anew_and_the_epochs_go_on(tmp_path: Path) -> None:
    saved = b'{"guard":"none","epoch":7,"master":"1@1"}'
    with Typed("service:app", tmp_path / "here", LASTSEAT_EVENT="") as server:
        server.kill()
        (server.data / "control").write_bytes(b"\xff" * 96)
        (server.data / "guard.json").write_bytes(saved)
        server.start()
        assert server.call("GET", "/guard").json["epoch"] == 8


@pytest.mark.parametrize(("first", "second"), [("json", "journal"), ("journal", "sqlite")])
def test_another_store_on_the_directory_is_refused_before_it_touches_anything(
    tmp_path: Path, first: str, second: str
) -> None:
    data = tmp_path / "data"
    variables = {"LASTSEAT_DATA": str(data), "LASTSEAT_EVENT": "", "LASTSEAT_LINE": "process"}
    with Typed("-w 2 service:app", tmp_path / "one", LASTSEAT_STORE=first, **variables) as running:
        running.call("POST", "/events", {"event": "gala", "capacity": 9})
        other = Typed("-w 2 service:app", tmp_path / "other", LASTSEAT_STORE=second, **variables)
        before = set(data.iterdir())
        said = refusal(other)
        for each in (f"'{first}'", f"'{second}'", "Stop that server first", "LASTSEAT_DATA name another"):
            assert each in said
        assert set(data.iterdir()) == before
        answer = running.buy("gala")
        assert (answer.status, answer.headers["Last-Seat-Epoch"]) == (201, "1")
        running.end()
        with other.start():
            assert other.call("GET", "/guard").json["epoch"] == 2


def test_two_masters_that_look_alike_by_their_id_and_start_are_told_apart() -> None:
    """As after a reboot, in two containers or small virtual machines: process 1, which began in the same tick."""
    program = """
import os
from service.runtime.gunicorn import _identity
print(_identity(1), flush=True)
if os.fork() == 0:
    print(_identity(1), flush=True)
    os._exit(0)
os.wait()
"""
    ran = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in "ab"]
    (one, its_worker), (other, its_workers) = (each.stdout.split() for each in ran)
    assert (one, other) == (its_worker, its_workers), "a worker that is forked later is of the same master"
    assert one != other


def test_two_processes_of_one_id_take_different_names(tmp_path: Path) -> None:
    """Two containers on one volume: what one of them writes must not be removed by the other."""
    if not disks.may_mount():
        pytest.skip("this machine does not let us have a process namespace")
    program = """
import os
from pathlib import Path
from service.runtime.files import temporary_beside
print(os.getpid(), temporary_beside(Path("show.json")))
"""
    alone = [*disks.UNSHARE, "--pid", "--fork", sys.executable, "-c", program]
    ran = [subprocess.run(alone, capture_output=True, text=True, check=True) for _ in "ab"]
    (one, its_name), (other, its_other_name) = (each.stdout.split() for each in ran)
    assert one == other == "1"
    assert its_name != its_other_name


def test_an_unknown_worker_model_is_refused_in_the_checkout(tmp_path: Path) -> None:
    server = Typed("service:app", tmp_path / "here", LASTSEAT_WORKER_MODEL="rope")
    (tmp_path / "here").mkdir()
    the_checkouts_settings(tmp_path / "here")
    assert server.launch().status_at_exit() != 0
    assert "LASTSEAT_WORKER_MODEL='rope' is not a worker model: sync, gthread, gevent." in server.said
    assert "Traceback" not in server.said


def test_a_read_only_data_directory_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    if disks.may_mount():
        server = Typed("service:app", tmp_path / "here", through=disks.on_read_only_disk(data), LASTSEAT_DATA=str(data))
    else:
        # A directory in which nobody may make a file, root neither.
        server = Typed("service:app", tmp_path / "here", LASTSEAT_DATA="/proc")
    said = refusal(server)
    assert "cannot be written" in said
    assert "Make it writable" in said


def test_a_full_data_directory_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    if disks.may_mount():
        said = refusal(
            Typed("-w 2 service:app", tmp_path / "here", through=disks.on_full_disk(data), LASTSEAT_DATA=str(data))
        )
        assert "No space left on device" in said
    else:
        script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); from service import app"
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(tmp_path, {"LASTSEAT_DATA": str(data)}),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        said = ended.stderr
        assert ended.returncode != 0
        assert "Traceback" not in said
    assert "cannot be written" in said
    assert "make room" in said


OPENING = """
import os, resource, subprocess, sys
from pathlib import Path
from service.app import create_app
from service.errors import RefusedToStart
from service.settings import Settings

folder, how, amounts = sys.argv[1], sys.argv[2], sys.argv[3:]
for amount in amounts:
    data = Path(folder, amount)
    data.mkdir()
    if how == "pages":
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={(int(amount) + 1) * 4}k", "tmpfs", data], check=True)
        Path(data, "ballast").write_bytes(b"x" * 4096)
    child = os.fork()
    if child == 0:
        if how == "bytes":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(amount), int(amount)))
        try:
            client = create_app(Settings(data=data)).test_client()
            answer = client.post("/events/show/orders", json={"quantity": 1})
            said = answer.json.get("code", "sold")
        except RefusedToStart as refusal:
            said = f"refused: {refusal}"
        except BaseException as error:
            said = repr(error)
        print(amount, sorted(path.name for path in data.rglob("*.*[0-9]*")), said, sep="|", flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(amount, [], f"ended with {status}", sep="|", flush=True)
"""

# The room ends at any of the files that a start makes: whole disks, or a limit on every file.
LITTLE_ROOM = {"bytes": [str(size) for size in (0, 1, 20, 30, 50, 60, 95, 96, 100, 150, 200, 300, 4096)]}
if disks.may_mount():
    LITTLE_ROOM["pages"] = [str(pages) for pages in range(11)]


@pytest.mark.parametrize("how", LITTLE_ROOM)
def test_however_little_room_there_is_it_refuses_cleanly_or_sells(tmp_path: Path, how: str) -> None:
    """A file that is mapped and has no room on the disk would kill the process without a word (SIGBUS)."""
    through = disks.UNSHARE if how == "pages" else ()
    ended = subprocess.run(
        [*through, sys.executable, "-c", OPENING, str(tmp_path), how, *LITTLE_ROOM[how]],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    outcomes = [line.split("|") for line in ended.stdout.splitlines()]
    assert len(outcomes) == len(LITTLE_ROOM[how])
    for amount, leftovers, said in outcomes:
        assert leftovers == "[]", (amount, leftovers)
        refused = said.startswith("refused: ") and "ake room" in said
        assert refused or said in {"sold", "storage_full", "storage_refused"}, (amount, said)
    assert outcomes[0][2].startswith("refused: ")
    assert outcomes[-1][2] == "sold"


# -- the port ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def second_on_the_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    """A server on a taken port; gunicorn tries for some seconds before it gives up, while the other tests run."""
    folder = tmp_path_factory.mktemp("port")
    with Typed("service:app", folder / "first") as first:
        with Typed("service:app", folder / "second", port=first.port).launch() as second:
            yield second
        assert first.buy().status == 201


def test_a_port_that_is_taken_is_named(second_on_the_port: Typed) -> None:
    assert second_on_the_port.status_at_exit() != 0
    assert f"127.0.0.1:{second_on_the_port.port}" in second_on_the_port.said.replace("', ", ":").replace("'", "")
    assert "in use" in second_on_the_port.said
    assert "Traceback" not in second_on_the_port.said


@pytest.mark.parametrize("address", ["postgresql://office@{}/tickets", "redis://{}/0"])
def test_an_engine_that_takes_connections_and_never_answers_is_refused_once_and_cleanly(
    tmp_path: Path, address: str
) -> None:
    """Every worker waits for it in vain. Two that both refused would end the master in a traceback."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        store = address.format(f"127.0.0.1:{silent.getsockname()[1]}")
        with Typed("-w 4 service:app", tmp_path / "office", LASTSEAT_STORE=store).launch() as server:
            assert server.status_at_exit(60) == 4
    assert "Traceback" not in server.said
    assert server.said.count("refused to start") == 1
    assert "did not answer in time" in server.said
