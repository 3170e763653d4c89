"""Faults of the disk: a store under its safe guard holds or refuses, and a setting that is known to lose is caught."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.run_options import SettingsError, experiment_of
from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.faults import fault_class
from loadtests.lab.faults.disk import calls, full_disk
from loadtests.lab.faults.disk.tracing import SYNCS
from loadtests.lab.faults.happened import Happened, read
from loadtests.lab.faults.schedule import names_of
from loadtests.lab.servers.office import Service
from tests.faults.test_process_faults import held as held_under

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
SALE = Workload(capacity=120, buyers=12, max_quantity=1, cancel_share=0.1, retries=6, limit_s=90)


def held(folder: Path, fault: str, **service: Any) -> tuple[Result, Happened]:
    if why := fault_class(fault).needs():
        pytest.skip(why)
    result = run(Experiment(service=Service(allow_unsafe=True, **service), workload=SALE, fault=fault), folder)
    [happened] = read(folder)
    assert happened.name == fault
    return result, happened


@pytest.mark.parametrize(
    ("faults", "worker", "store"),
    [("slow-disk@15%,full-disk@50%", "gthread", "json"), ("eio@15%,eio-for-good@50%", "sync", "sqlite")],
)
def test_a_setting_that_loses_is_caught_under_faults_of_the_disk(
    faults: str, worker: str, store: str, tmp_path: Path
) -> None:
    if why := calls.why_not():
        pytest.skip(why)
    result, happened = held_under(tmp_path, faults, worker=worker, store=store, guard="none", think_ms=20)
    assert {each.name for each in happened} == set(names_of(faults))
    assert result.verdict.verdict == "invalid"


@pytest.mark.parametrize(
    ("fault", "worker", "store", "seen"),
    [
        ("slow-disk", "gevent", "journal", "writes and syncs took 50 ms longer"),
        ("eio", "sync", "journal", "failed with EIO"),
        ("eio-for-good", "gthread", "sqlite", "failed with EIO"),
        ("full-disk", "gevent", "sqlite", "an ext4 of 64 MiB filled"),
    ],
)
def test_a_sale_on_a_disk_that_fails_or_is_slow_loses_nothing(
    fault: str, worker: str, store: str, seen: str, tmp_path: Path
) -> None:
    if fault == "full-disk" and (why := full_disk.why_no_disk()):
        worker, seen = "sync", f"without a small disk: {why.rstrip('.')}"  # under gevent it is refused, see below
    result, happened = held(tmp_path, fault, worker=worker, store=store, guard="on")
    assert seen in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why


def test_a_fault_of_the_disk_does_not_fit_a_store_without_files_of_its_own() -> None:
    with pytest.raises(SettingsError, match="take a store with files, json, journal, sqlite"):
        experiment_of({"store": "redis", "guard": "on"}, {"fault": "slow-disk"})


def test_a_machine_without_strace_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert "apt-get install strace" in fault_class("eio").needs()


def test_a_process_goes_on_as_before_when_it_is_let_go_of() -> None:
    if why := calls.why_not():
        pytest.skip(why)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        with calls.injected([cat.pid], SYNCS, "error=EIO") as count:
            print("during", file=cat.stdin, flush=True)
            assert cat.stdout.readline() == "during\n"
            assert count() == 0
        print("after", file=cat.stdin, flush=True)
        assert cat.stdout.readline() == "after\n"


def test_a_target_that_keeps_its_sales_loses_nothing_on_a_disk_that_fails(tmp_path: Path) -> None:
    if why := calls.why_not():
        pytest.skip(why)
    asked = {"target": ROOT / "examples" / "ticket_office.toml", "fault": "eio", "retries": 6}
    result = run(experiment_of({}, asked), tmp_path)
    [happened] = read(tmp_path)
    assert "failed with EIO" in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why


def test_without_a_small_disk_a_full_one_is_refused_under_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"store": "sqlite", "worker": "gevent"}, {"fault": "full-disk"}
    monkeypatch.setattr(full_disk, "why_no_disk", lambda: "")
    experiment_of(*asked)
    monkeypatch.setattr(full_disk, "why_no_disk", lambda: "there is none.")
    with pytest.raises(SettingsError, match=r"wake each other by writing.*There is none\."):
        experiment_of(*asked)


def test_without_a_small_disk_the_writes_fail_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(_image: Path, _place: Path) -> None:
        raise PermissionError("no loop device")

    monkeypatch.setattr(full_disk, "why_no_disk", lambda: "")
    monkeypatch.setattr(full_disk, "mount", none_here)
    result, happened = held(tmp_path, "full-disk", worker="sync", store="journal", guard="on")
    assert "without a small disk: no loop device" in happened.text
    assert "writes failed with ENOSPC" in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why


def test_a_lab_that_is_killed_leaves_no_disk_to_the_next_start(tmp_path: Path) -> None:
    ends = """
import os, pathlib, signal, sys
from loadtests.lab.faults.disk.full_disk import FullDisk
fault = FullDisk()
fault.prepare(pathlib.Path(sys.argv[1]))
print(os.path.ismount(sys.argv[1] + "/data"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    again = "from loadtests.lab.faults.leavings import clean_up; print(*clean_up())"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    first, then = (
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for program in (ends, again)
    )
    if first.stdout == "False\n":
        pytest.skip("this machine gives no small disk")
    assert first.returncode == -signal.SIGKILL
    assert then.stdout == f"{tmp_path}/data\n"
    assert not os.path.ismount(tmp_path / "data")
