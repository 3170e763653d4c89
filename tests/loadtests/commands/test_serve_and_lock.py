"""``lastseat serve`` and ``lastseat lock``: the office by worker model, and its switch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtests.lab.protocol.admin_api import Office
from loadtests.lab.servers import process
from loadtests.lab.servers.office import RunningOffice
from service.catalogue import STORES
from tests.loadtests.commands.test_demo import lastseat
from workers.serve import about_store

pytestmark = pytest.mark.servers

Serve = Callable[..., RunningOffice]


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    yield free


@contextmanager
def served(folder: Path, port: int, *options: str, **variables: str) -> Iterator[Office]:
    """What ``lastseat serve`` becomes in this folder, when it is ready. Its log is ``log`` there."""
    server = process.start(
        [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "serve", "--port", str(port), *options],
        log=folder / "log", environment=dict(os.environ) | variables, directory=folder,
    )  # fmt: skip
    try:
        office, deadline = Office(f"http://127.0.0.1:{port}"), time.monotonic() + 30
        while office.ready() is None:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield office
    finally:
        process.end(server, grace_s=15)


def test_serve_becomes_a_gunicorn_with_the_worker_model_and_the_guard_asked_for(tmp_path: Path, port: int) -> None:
    options = ("--worker", "gthread", "--guard", "none", "--data", str(tmp_path / "data"))
    with served(tmp_path, port, *options) as office:
        assert office.guard().guard == "none"
        log = (tmp_path / "log").read_text()
        assert log.startswith("LASTSEAT_GUARD=none")
        assert "--worker-class gthread --workers 2 --threads 16 service:app" in log
        assert "Using worker: gthread" in log
        assert "The store is json. " in log


@pytest.mark.parametrize(
    ("options", "variables", "events"),
    [
        ((), {}, ["show"]),
        (("--shop",), {}, []),
        (("--shop",), {"LASTSEAT_EVENT": "a:1", "LASTSEAT_PAGE": "lab"}, []),
        ((), {"LASTSEAT_EVENT": ""}, []),
    ],
    ids=["the default", "--shop", "--shop before a variable", "an empty variable"],
)
def test_an_office_for_real_sales_starts_without_a_lab_event(
    tmp_path: Path, port: int, options: tuple[str, ...], variables: dict[str, str], events: list[str]
) -> None:
    with served(tmp_path, port, *options, **variables) as office:
        found = json.loads(office._call("GET", "/events").body)["events"]
        assert [each["event"] for each in found] == events
        assert (b"The interface" in office._call("GET", "/").body) == bool(events)  # which a page for buyers has not


@pytest.mark.parametrize("name", STORES)
def test_serve_says_which_store_it_uses_and_when_another_is_better(name: str) -> None:
    traits = STORES[name]
    said = about_store(traits.example.replace("//", "//user:secret@") if traits.example else name)
    assert said == f"The store is {name}. {traits.advice}"
    assert "secret" not in said
    assert name == "journal" or "--store journal" in said  # each names another one for one host
    assert name == "memory" or "for several hosts" in said.lower()
    assert about_store("nothing-of-ours") == ""


def test_serve_names_a_port_that_is_taken_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lastseat(tmp_path, "serve", "--port", str(port))
    assert done.returncode == 70
    assert f"127.0.0.1:{port} cannot be used" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_threads_are_for_gthread_only(tmp_path: Path) -> None:
    assert lastseat(tmp_path, "serve", "--worker", "gevent", "--threads", "4").returncode == 64


def test_the_lock_is_taken_off_put_on_and_looked_at(tmp_path: Path, serve: Serve) -> None:
    office = serve(worker="gevent", guard="file")
    here = ("--url", office.url, "--data", str(office.data))
    off = lastseat(tmp_path, "lock", "off", *here)
    assert off.returncode == 0, off.stderr
    assert "The guard was file; it is none now, from epoch 2 on" in off.stdout
    assert office.office.guard().guard == "none"
    status = lastseat(tmp_path, "lock", "status", "--url", office.url)
    assert "The guard is none, in epoch 2" in status.stdout
    on = json.loads(lastseat(tmp_path, "lock", "on", *here, "--json").stdout)
    assert (on["guard"], on["epoch"]) == ("file", 3)


def test_without_the_token_the_lock_stays_and_the_remedy_is_named(tmp_path: Path, serve: Serve) -> None:
    office = serve(processes=1)
    for extra in ((), ("--admin-token", "wrong")):
        refused = lastseat(tmp_path, "lock", "off", "--url", office.url, *extra)
        assert refused.returncode == 70
        assert "nothing was changed" in refused.stderr
        assert "admin-token of its data directory" in refused.stderr
    assert office.office.guard().guard == "file"


def test_an_unknown_guard_is_refused_with_those_there_are(tmp_path: Path, serve: Serve) -> None:
    office = serve(processes=1)
    refused = lastseat(tmp_path, "lock", "bogus", "--url", office.url, "--data", str(office.data))
    assert refused.returncode == 70
    assert "file" in refused.stderr


def test_an_office_that_is_not_there_is_named(tmp_path: Path, port: int) -> None:
    nobody = lastseat(tmp_path, "lock", "off", "--url", f"http://127.0.0.1:{port}")
    assert nobody.returncode == 70
    assert f"nobody answers at http://127.0.0.1:{port}" in nobody.stderr
    assert "nothing was written" in nobody.stderr


def test_help_is_there_for_every_verb(tmp_path: Path) -> None:
    for verb in ("demo", "serve", "lock", "check"):
        shown = subprocess.run(
            [sys.executable, "-c", "from loadtests.lab.cli import main; main()", verb, "--help"],
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert shown.returncode == 0
        assert "Usage: lastseat" in shown.stdout or "Usage:" in shown.stdout
