"""Servers that the lab starts: ours, fresh, and gone when they should be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from loadtests.lab.protocol.admin_api import Office, OfficeError
from loadtests.lab.servers.office import NotReady, RunningOffice, Service, ServiceRefused
from loadtests.lab.servers.process import running_in_group
from loadtests.lab.servers.resources import children_of
from service.settings import Settings, Think, from_environment

pytestmark = pytest.mark.servers

GONE_WITHIN_S = 20.0


def wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while running_in_group(group):
        assert time.monotonic() < deadline, f"processes {running_in_group(group)} of group {group} still run"
        time.sleep(0.02)


def test_the_office_knows_every_setting_that_the_lab_gives_it(tmp_path: Path) -> None:
    """Each field of ``Service`` becomes the variable of its name, but for those that gunicorn is started with."""
    given = Service(
        store="journal", guard="leaky", think_ms=10, think_high_ms=50, think_kind="cpu", guard_scope="request", batch=7,
        lock_timeout_s=2.5, allow_unsafe=True, leak=0.25, lease_ms=300, inside=3, queue=4, gates="/gates",
    )  # fmt: skip
    settings = from_environment(given.environment(tmp_path))
    assert (settings.store, settings.guard, settings.think) == ("journal", "leaky", Think(10, 50, compute=True))
    assert (settings.request_scope, settings.allow_unsafe, settings.first_event) == (True, True, None)
    for name in ("batch", "lock_timeout_s", "leak", "lease_ms", "inside", "queue", "gates"):
        assert getattr(settings, name) == getattr(given, name)


def test_what_the_lab_leaves_open_the_office_decides(tmp_path: Path) -> None:
    settings = from_environment(Service().environment(tmp_path))
    assert settings == Settings(data=tmp_path, guard="file", first_event=None, page="lab")


def test_nothing_runs_after_the_block(tmp_path: Path) -> None:
    with RunningOffice(Service(worker="gthread", processes=2, threads=2), tmp_path) as office:
        assert len(running_in_group(office.pid)) == 3
    assert running_in_group(office.pid) == []


def test_nothing_runs_after_an_exception_in_the_block(tmp_path: Path) -> None:
    office = RunningOffice(Service(processes=1), tmp_path)
    with pytest.raises(KeyboardInterrupt), office:
        raise KeyboardInterrupt
    assert running_in_group(office.pid) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program that its parent died")
def test_a_lab_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    lab = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            import time
            from pathlib import Path
            from loadtests.lab.servers.office import RunningOffice, Service
            with RunningOffice(Service(worker="gevent", processes=2), Path({str(tmp_path)!r})) as office:
                print(office.pid, flush=True)
                time.sleep(600)
        """)],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert lab.stdout is not None
        group = int(lab.stdout.readline())
        assert running_in_group(group)
    finally:
        lab.kill()
        lab.wait()
    wait_until_gone(group)


def test_a_crash_ends_all_processes_and_a_restart_finds_the_data_at_the_same_address(tmp_path: Path) -> None:
    with RunningOffice(Service(worker="gthread", processes=2, threads=4), tmp_path) as office:
        office.office.create_event("show", 7)
        before, address = office.pid, office.url
        office.kill()
        assert running_in_group(before) == []
        assert office.office.ready() is None
        office.restart()
        assert office.url == address
        assert b'"capacity":7' in office.office.audit("show")


@pytest.mark.servers
@pytest.mark.parametrize("processes", [1, 4])
def test_an_office_is_up_when_all_of_its_workers_sell(processes: int, tmp_path: Path) -> None:
    with RunningOffice(Service(processes=processes), tmp_path) as office:
        assert office.office.workers() == processes == len(children_of(office.pid))


def test_a_service_that_does_not_answer_has_not_said_that_it_counts_no_workers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
    with pytest.raises(OfficeError):
        Office(f"http://127.0.0.1:{port}").workers()


def test_a_server_that_refuses_its_settings_is_reported_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceRefused, match=r"^LASTSEAT_GUARD='bogus': There is no such guard"):
        RunningOffice(Service(guard="bogus"), tmp_path).start()


def test_a_server_that_ends_at_its_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="the server ended with status") as ended:
        RunningOffice(Service(worker="gthread", threads=-1), tmp_path).start()
    assert "server.log" in str(ended.value)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotReady, match=f"port {port}"), RunningOffice(Service(), tmp_path, port=port):
            pass


def test_settings_of_the_shell_do_not_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTSEAT_STORE", "bogus")
    monkeypatch.setenv("LASTSEAT_GUARD", "bogus")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bogus")
    with RunningOffice(Service(processes=1, guard="none"), tmp_path) as office:
        assert office.office.guard().guard == "none"


def test_the_server_runs_in_a_group_of_its_own(tmp_path: Path) -> None:
    with RunningOffice(Service(processes=1), tmp_path) as office:
        assert office.pid != os.getpgid(0)
        os.killpg(office.pid, signal.SIGTERM)  # reaches nobody but the server
        wait_until_gone(office.pid)
