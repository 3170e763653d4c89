"""Faults of the engine: buyers are refused definitely, nobody loses an order, and a setting that loses is caught."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import psycopg
import pytest
import redis

from loadtests.lab.experiment import runner
from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.experiment.result import load_conclusion
from loadtests.lab.experiment.run_options import SettingsError, experiment_of
from loadtests.lab.experiment.runner import Experiment, run
from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.engine import full_engine
from loadtests.lab.faults.engine.full_engine import FullEngine
from loadtests.lab.faults.happened import read
from loadtests.lab.faults.injection import Faults
from loadtests.lab.faults.schedule import Injection
from loadtests.lab.servers.engines import Engines
from loadtests.lab.servers.office import Service
from tests.combinations import shortened
from tests.faults.test_process_faults import ROOT, SALE, assert_it_held, held, notes, until
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers
STEADY = msgspec.structs.replace(SALE, capacity=150, rate=30.0, limit_s=120)
"""Buyers come one after another, so that the sale lasts for some seconds however fast the machine is."""


def skip_without_a_disk() -> None:
    if why := full_engine.why_no_disk():
        pytest.skip(why)


def refused(folder: Path) -> set[int]:
    """The statuses of the definite refusals; a buyer who is not told whether anything was written would have none."""
    lines = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return {line["status"] for line in lines if line["outcome"] == "fail" and line.get("status", 0) >= 500}


@pytest.mark.parametrize(
    ("fault", "store", "says", "status"),
    [
        pytest.param("read-only", "postgres", "took no writes", 503, marks=pytest.mark.soak),
        ("read-only", "redis", "took no writes", 503),
        ("full-engine", "redis", "memory was full", 507),
    ],
)
def test_an_engine_that_takes_no_writes_for_a_while_refuses_definitely_and_then_sells_the_rest(
    fault: str, store: str, says: str, status: int, tmp_path: Path
) -> None:
    result, [happened] = held(tmp_path, fault, worker="gthread", store=store, guard="on")
    assert says in happened.text
    assert_it_held(result)
    assert refused(tmp_path) == {status}


def test_an_office_without_a_lock_is_caught_under_both(tmp_path: Path) -> None:
    service: dict[str, Any] = {"worker": "gthread", "store": "redis", "guard": "none", "think_ms": 5}
    result, happened = held(tmp_path, "read-only@15%,full-engine@40%", **service)
    assert {each.name for each in happened} == {"read-only", "full-engine"}
    assert result.verdict.verdict == "invalid"


def test_a_fault_of_the_engine_is_refused_where_the_lab_has_not_started_it() -> None:
    for fault, store in (("read-only", "json"), ("full-engine", "unix:///run/valkey")):
        with pytest.raises(SettingsError, match=f"{fault} is done to a.* that the lab has started: say --store"):
            experiment_of({}, {"fault": fault, "store": store, "worker": "gthread"})


def test_an_engine_takes_writes_again_also_where_it_was_healed_before(tmp_path: Path) -> None:
    with Engines(tmp_path) as engines:
        server = engines.server("postgres")
        with psycopg.connect(server.url, autocommit=True) as session:
            server.refuse_writes()
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), psycopg.connect(server.url) as other:
                other.execute("CREATE TABLE t ()")
            server.take_writes()
            server.take_writes()
            session.execute("SELECT 1")  # it learns of the setting between two statements
            with psycopg.connect(server.url) as other:
                other.execute("CREATE TABLE t ()")


# -- a standby takes the engine's place --------------------------------------------------------------------------------


@pytest.mark.parametrize("store", shortened(["postgres", "redis"], "postgres"))
def test_an_asynchronous_standby_that_takes_the_engines_place_loses_orders_also_under_the_safe_guard(
    store: str, tmp_path: Path
) -> None:
    """The canary: nothing that the office does keeps what the engine has told no standby."""
    experiment = Experiment(
        service=Service(worker="gthread", store=store, guard="on"), workload=STEADY, fault="failover"
    )
    assert experiment.expectation is Expectation.WRONG
    result = run(experiment, tmp_path)
    assert result.verdict.verdict == "invalid"
    assert result.verdict.lost


def test_a_synchronous_standby_that_takes_the_engines_place_loses_nothing_and_the_office_goes_on(
    tmp_path: Path,
) -> None:
    experiment = Experiment(
        service=Service(worker="gthread", store="postgres", guard="on"), workload=STEADY, fault="failover-sync"
    )
    assert experiment.expectation is Expectation.EXACT
    result = run(experiment, tmp_path)
    [happened] = read(tmp_path)
    assert "the standby took its place; the office went on" in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why
    assert not result.verdict.lost
    assert 500 not in refused(tmp_path)


def test_valkey_has_no_synchronous_replica() -> None:
    with pytest.raises(SettingsError, match=r"say --store postgres.*no synchronous replicas"):
        experiment_of({}, {"fault": "failover-sync", "store": "redis", "worker": "gthread"})


def test_a_replica_that_is_not_behind_has_all_of_the_engine_and_keeps_it_through_a_restart(tmp_path: Path) -> None:
    with Engines(tmp_path) as engines:
        server = engines.server("redis")
        client = redis.Redis(unix_socket_path=str(server.socket))
        client.set("order", "1")
        primary = server.pid
        server.add_standby()
        server.fail_over()
        assert server.pid != primary
        assert not psutil.pid_exists(primary)
        assert client.get("order") == b"1"
        client.set("later", "2")
        server.restart()
        assert client.mget("order", "later") == [b"1", b"2"]


@pytest.mark.parametrize("synchronous", [True, False])
def test_only_a_synchronous_engine_tells_nobody_of_what_its_standby_lacks(synchronous: bool, tmp_path: Path) -> None:
    with Engines(tmp_path) as engines, ThreadPoolExecutor(1) as threads:
        server = engines.server("postgres")
        server.add_standby(synchronous=synchronous)
        with psycopg.connect(server.url, autocommit=True) as session:
            session.execute("CREATE TABLE orders (number integer)")
            session.execute("INSERT INTO orders VALUES (1)")
            if not synchronous:
                standing_by = "pg_current_wal_flush_lsn() <= (SELECT replay_lsn FROM pg_stat_replication)"
                until(lambda: all(session.execute(f"SELECT {standing_by}").fetchone()), "the standby has the order")
            server.cut_off_standby()
            told = threads.submit(session.execute, "INSERT INTO orders VALUES (2)")
            if synchronous:
                until(lambda: waits_for_a_standby(server), "the order waits for the standby")
                assert not told.done()
            else:
                told.result(60)
            primary = server.pid
            server.fail_over()
            assert synchronous == (told.exception(60) is not None)
        assert not psutil.pid_exists(primary)
        assert primary not in makers_of_shared_memory()
        with psycopg.connect(server.url, autocommit=True) as session:
            session.execute("INSERT INTO orders VALUES (3)")
        server.restart()
        with psycopg.connect(server.url) as session:
            assert session.execute("SELECT number FROM orders ORDER BY 1").fetchall() == [(1,), (3,)]


def waits_for_a_standby(server: Any) -> bool:
    with psycopg.connect(server.url) as session:
        asked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')"
        return session.execute(asked).fetchall() == [(True,)]


def makers_of_shared_memory() -> set[int]:
    """The processes that have made System V memory that is still there."""
    _, *lines = Path("/proc/sysvipc/shm").read_text().splitlines()
    return {int(line.split()[4]) for line in lines}


# -- the engine's disk is full -----------------------------------------------------------------------------------------


@pytest.mark.soak
def test_an_engine_whose_disk_is_full_refuses_definitely_and_then_sells_the_rest(tmp_path: Path) -> None:
    skip_without_a_disk()
    service = Service(worker="gthread", store="postgres", guard="on")
    result = run(Experiment(service=service, workload=STEADY, fault="full-engine"), tmp_path)
    [happened] = read(tmp_path)
    assert "the engine wanted more room" in happened.text
    assert 507 in refused(tmp_path)
    assert_it_held(result)


def test_an_engine_that_ends_for_want_of_room_is_started_again_and_has_all_that_it_had_said(tmp_path: Path) -> None:
    skip_without_a_disk()
    with FullEngine() as fault, Engines(tmp_path) as engines:
        server = engines.server("postgres")
        office = SimpleNamespace(engine=server, service=Service(store="postgres"), folder=tmp_path)
        fault.equip(office)
        with psycopg.connect(server.url, autocommit=True) as session:
            session.execute("CREATE TABLE orders (number integer)")
            assert server.has_room()
            assert "filled with" in fault.begin(office)
            told = 0
            with pytest.raises(psycopg.OperationalError):  # it needs a new file for its log, before one for the table
                for told in range(1, 100):
                    session.execute("INSERT INTO orders VALUES (%s)", (told,))
                    session.execute("SELECT pg_switch_wal()")
        fault.heal(office)
        assert server.has_room()
        with psycopg.connect(server.url) as session:
            [(kept,)] = session.execute("SELECT count(*) FROM orders").fetchall()
    assert kept in {told - 1, told}
    assert not [*tmp_path.glob("ballast")]


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        ("postgres", "read-only"), ("postgres", "failover-sync"),
        ("redis", "read-only"), ("redis", "failover"), ("redis", "full-engine"),
    ],
)  # fmt: skip
def test_a_fault_that_an_engine_does_not_let_happen_is_no_result_and_says_what_failed(
    store: str, fault: str, tmp_path: Path
) -> None:
    """Somebody else has killed the engine before."""
    (tmp_path / "parts-1").mkdir()
    (tmp_path / "parts-1" / "1.jsonl").write_text('{"op":"buy","outcome":"ok","quantity":1}\n' * 20)
    with Engines(tmp_path) as engines:
        office = SimpleNamespace(engine=engines.server(store), service=Service(store=store), folder=tmp_path)
        office.engine.kill()
        faults = Faults([Injection(fault)], capacity=40)
        says = rf"(?s)the fault {fault} did not happen: .*(No such file|refused)"
        with pytest.raises(NotInjected, match=says), faults, faults.injected(office, []):
            pass


def test_a_machine_that_cannot_copy_a_postgresql_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("loadtests.lab.servers.postgres.find_postgres", lambda: tmp_path)
    for fault in ("failover", "failover-sync"):
        with pytest.raises(SettingsError, match="apt-get install postgresql-client"):
            experiment_of({}, {"fault": fault, "store": "postgres", "worker": "gthread"})


def test_a_machine_without_small_disks_refuses_to_fill_that_of_postgresql_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    asked = {"fault": "full-engine", "worker": "gthread"}
    with pytest.raises(
        SettingsError, match=r"on this machine with --store postgres: .*(apt-get install e2fsprogs|root)"
    ):
        experiment_of({}, asked | {"store": "postgres"})
    experiment_of({}, asked | {"store": "redis"})


# -- what stays --------------------------------------------------------------------------------------------------------


def test_an_engine_that_waits_for_its_standby_ends_with_a_lab_that_is_killed(tmp_path: Path) -> None:
    ends = """
import os, pathlib, signal, sys, threading
import psycopg
from loadtests.lab.servers.postgres import PostgresServer
with PostgresServer(pathlib.Path(sys.argv[1])) as server:
    server.add_standby(synchronous=True)
    print(server.pid, server._standby.pid, *server.temporary, flush=True)
    session = psycopg.connect(server.url, autocommit=True)
    session.execute("CREATE TABLE orders (number integer)")
    server.cut_off_standby()
    threading.Thread(target=session.execute, args=["INSERT INTO orders VALUES (1)"], daemon=True).start()
    server._wait_until("EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", ends, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    primary, standby, *folders = done.stdout.split()
    try:
        until(lambda: not any(map(runs, (int(primary), int(standby)))), "both ended")
    finally:
        for folder in folders:
            shutil.rmtree(folder)


@pytest.mark.soak
def test_a_lab_that_is_killed_leaves_no_engine_and_no_standby_and_the_next_start_neither_disk_nor_data() -> None:
    skip_without_a_disk()
    # Not in pytest's own folder, where an engine that runs as another user may not be.
    with tempfile.TemporaryDirectory(prefix="lastseat-tests-") as name, contextlib.ExitStack() as at_the_end:
        folder, environment = Path(name), {**os.environ, "TMPDIR": name}
        folder.chmod(0o755)
        line = (
            "run --worker gthread --store postgres --capacity 100000 --fault failover-sync,full-engine --fault-at 90%"
        )
        command = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", *line.split(), "--results", name]
        lab = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            until(lambda: [*folder.glob("run/*/parts-*/*.jsonl")] or lab.poll() is not None, "the sale began")
            family = psutil.Process(lab.pid).children(recursive=True)
            engines = [each for each in family if "-D" in each.cmdline()]
            [disk] = folder.glob("lastseat-*-disk")
            at_the_end.callback(full_engine.remove, str(disk))
        finally:
            lab.send_signal(signal.SIGKILL)
            lab.wait()
        assert len(engines) == 2
        until(lambda: not any(runs(each.pid) for each in family), "all ended")
        again = [sys.executable, "-c", "from loadtests.lab.faults.leavings import clean_up; print(*clean_up())"]
        done = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert str(disk) in done.stdout
        assert str(disk) not in Path("/proc/mounts").read_text()
        assert [*folder.glob("lastseat-*")] == [*folder.glob("lastseat-leavings-*")]
        assert notes(folder) == []


def runs(pid: int) -> bool:
    """Whether there is such a process; an orphan that has ended may stay a zombie for some time."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_event_whose_audit_could_not_be_read_is_not_known_to_have_survived(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        unaudited: list[Path] = []

        def loses_audits(folder: Path) -> Any:
            for each in folder.glob("audit-*.jsonl"):
                each.unlink()
                unaudited.append(each)
            return load_conclusion(folder)

        patched.setattr(runner, "load_conclusion", loses_audits)
        result, _ = held(tmp_path, "", worker="gthread", store="journal", guard="on")
    assert unaudited
    [restart] = [each for each in result.verdict.checks if each.name == "restart"]
    assert restart.verdict == "unknown"


# -- for a long time ---------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("worker", WORKER_MODELS)
def test_a_postgresql_whose_disk_is_full_and_whose_place_is_taken_loses_nothing_under_every_worker_model(
    worker: str, tmp_path: Path
) -> None:
    skip_without_a_disk()
    service, sale = Service(worker=worker, store="postgres", guard="on"), msgspec.structs.replace(STEADY, capacity=300)
    result = run(Experiment(service=service, workload=sale, fault="full-engine@10%,failover-sync@60%"), tmp_path)
    assert [each.name for each in read(tmp_path)] == ["full-engine", "failover-sync"]
    assert result.verdict.verdict == "valid", result.verdict.why
