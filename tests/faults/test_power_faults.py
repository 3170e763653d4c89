"""A power cut under a sale: a store that syncs keeps what it has answered for, and what does not sync is caught."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from loadtests.lab.experiment.expectation import Expectation, expectation_of
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.run_options import SettingsError, experiment_of
from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.faults import fault_class
from loadtests.lab.faults.disk.power_cut import PowerCut
from loadtests.lab.faults.disk.torn_write import TornWrite
from loadtests.lab.faults.disk.traced_disk import Disk, Image
from loadtests.lab.faults.disk.tracing import parse, prefix, traced, why_not
from loadtests.lab.faults.happened import Happened, read
from loadtests.lab.servers import process
from loadtests.lab.servers.office import Service
from loadtests.lab.servers.postgres import PostgresServer
from loadtests.lab.servers.valkey import ValkeyServer
from service.catalogue import STORES
from tests.faults.test_process_faults import skip_without, until
from workers import WORKER_MODELS

ROOT = Path(__file__).resolve().parents[2]
SALE = Workload(capacity=200, buyers=12, max_quantity=1, cancel_share=0.1, retries=6, limit_s=90)
WITH_FILES = [name for name, store in STORES.items() if store.durable and store.scope == "host"]


def held(folder: Path, fault: str, **service: Any) -> tuple[Result, Happened]:
    skip_without(fault)
    result = run(Experiment(service=Service(**service), workload=SALE, fault=fault), folder)
    [happened] = read(folder)
    assert happened.name == fault
    return result, happened


# -- what is left of a small program's files --------------------------------------------------------------------------

PROGRAM = """
import os, sys
def write(path, content, *, sync):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, content)
    if sync:
        os.fsync(fd)
    return fd
def sync_names():
    fd = os.open(".", os.O_RDONLY)
    os.fsync(fd)
os.chdir(sys.argv[1])
write("kept", b"a" * 600, sync=True)
fd = write("first", b"b", sync=True)
sync_names()
os.rename("first", "then")
os.write(fd, b"c" * 700)
write("nameless", b"d", sync=True)
write("kept", b"e" * 900, sync=False)
"""


def left_by(program: str, folder: Path, fault: PowerCut, *, before: Image | None = None) -> tuple[str, Image]:
    """What a fault leaves of the files of a program, and what it says."""
    if why := why_not():
        pytest.skip(why)
    files = folder / "files"
    files.mkdir()
    calls = traced([sys.executable, "-c", program, str(files)], folder / "calls")
    disk = Disk(str(files), image=before)
    for place, call in enumerate(calls):
        disk.happen(call, place)
    fault._cuts = 1
    return fault._cut(disk)


def word(text: str) -> str:
    """A text as strace writes it down."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def test_after_a_power_cut_there_is_what_was_synced_under_the_name_that_was_synced(tmp_path: Path) -> None:
    said, image = left_by(PROGRAM, tmp_path, PowerCut())
    assert image == {"kept": b"a" * 600, "first": b"b"}
    assert said == "2 writes and 2 changes of names were not synced; 4 of these are gone"


def test_a_torn_write_is_there_up_to_the_end_of_its_first_sector_and_all_before_it_is_whole(tmp_path: Path) -> None:
    said, image = left_by(PROGRAM, tmp_path, TornWrite())
    assert image == {"kept": b"a" * 600 + b"e" * 424, "then": b"b" + b"c" * 700, "nameless": b"d"}
    assert said.startswith("424 of the 900 bytes of the last write to kept are there; ")


def test_where_everything_was_synced_a_power_cut_takes_nothing_and_says_so(tmp_path: Path) -> None:
    said, image = left_by("import os, sys; os.sync()", tmp_path, PowerCut(), before={"there": None, "there/it": b"is"})
    assert image == {"there": None, "there/it": b"is"}
    assert said == "0 writes and 0 changes of names were not synced; 0 of these are gone"


def test_a_sync_that_another_process_overtakes_with_a_rename_is_of_the_file_that_it_was_asked_for() -> None:
    trace = f"""\
7 openat(AT_FDCWD<{word("/d")}>, "{word("/d/a")}", O_WRONLY|O_CREAT, 0600) = 3<{word("/d/a")}>
7 write(3<{word("/d/a")}>, "{word("x")}", 1) = 1
7 fdatasync(3<{word("/d/a")}> <unfinished ...>
8 rename("{word("/d/a")}", "{word("/d/b")}") = 0
7 <... fdatasync resumed>) = 0
8 fsync(4<{word("/d")}>) = 0
"""
    disk = Disk("/d")
    for place, call in enumerate(parse(trace.splitlines(keepends=True))):
        disk.happen(call, place)
    assert PowerCut()._cut(disk)[1] == {"b": b"x"}


def test_a_sync_of_the_file_system_covers_every_file_and_name_in_it_as_it_was_when_the_sync_began(
    tmp_path: Path,
) -> None:
    program = """
import ctypes, os, sys
os.chdir(sys.argv[1])
def write(path, content):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, content)
    os.close(fd)
os.mkdir("inner")
write("inner/before", b"a")
write("renamed", b"b")
os.rename("renamed", "then")
here = os.open(".", os.O_RDONLY)
assert ctypes.CDLL(None).syncfs(here) == 0
write("inner/before", b"c")
write("after", b"d")
"""
    said, image = left_by(program, tmp_path, PowerCut())
    assert image == {"inner": None, "inner/before": b"a", "then": b"b"}
    assert said == "2 writes and 1 changes of names were not synced; 3 of these are gone"


def test_a_sync_of_another_file_system_covers_nothing() -> None:
    trace = f"""\
7 openat(AT_FDCWD<{word("/d")}>, "{word("/d/a")}", O_WRONLY|O_CREAT, 0600) = 3<{word("/d/a")}>
7 syncfs(4<{word("/elsewhere")}>) = 0
"""
    disk = Disk("/d")
    for place, call in enumerate(parse(trace.splitlines(keepends=True))):
        disk.happen(call, place)
    assert PowerCut()._cut(disk)[1] == {}


@pytest.mark.parametrize("sync", ["fsync(5<{b}>)", "syncfs(4<{folder}>)"])
def test_a_file_whose_name_another_file_has_got_since_does_not_get_it_back(sync: str) -> None:
    """On a disk on which a sync of a file covers its name; each line of the trace is one call."""
    old, new, folder, b = (word(path) for path in ("/d/a", "/d/new", "/d", "/d/a"))
    trace = f"""\
7 openat(AT_FDCWD<{folder}>, "{old}", O_WRONLY|O_CREAT, 0600) = 3<{old}>
7 write(3<{old}>, "{word("old")}", 3) = 3
7 openat(AT_FDCWD<{folder}>, "{new}", O_WRONLY|O_CREAT, 0600) = 5<{new}>
7 write(5<{new}>, "{word("new")}", 3) = 3
7 rename("{new}", "{old}") = 0
7 {sync.format(folder=folder, b=b)} = 0
7 fsync(4<{folder}>) = 0
7 fsync(3<{old}>(deleted)) = 0
"""
    disk = Disk("/d", names_with_files=True)
    for place, call in enumerate(parse(trace.splitlines(keepends=True))):
        disk.happen(call, place)
        assert PowerCut()._cut(disk)[1] in ({}, {"a": b"new"})
    assert PowerCut()._cut(disk)[1] == {"a": b"new"}


def test_a_call_that_was_not_written_down_whole_was_not_done() -> None:
    whole = "7 fdatasync(3<\\x2f\\x61>) = 0\n"
    assert [call.name for call in parse([whole, '7 write(3<\\x2f\\x61>, "\\x61", 1) = 1'])] == ["fdatasync"]


def test_who_stands_behind_the_tracer_has_the_process_and_the_group_that_was_started(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(why)
    command = [*prefix(), str(tmp_path / "calls"), sys.executable, "-c", "import os; print(os.getpid(), os.getpgid(0))"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.read().split() == [str(started.pid)] * 2


# -- a sale -----------------------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_a_store_whose_disk_lies_about_its_syncs_is_known_to_lose_and_is_caught(tmp_path: Path) -> None:
    """The canary: the office and the harness are the same, and only what counts as synced is not."""
    result, _ = held(tmp_path, "lying-disk", worker="sync", store="journal", guard="on")
    assert result.expectation is Expectation.WRONG
    assert result.verdict.verdict == "invalid"
    assert result.verdict.lost


@pytest.mark.servers
def test_a_valkey_that_syncs_keeps_what_it_answered_for_and_one_that_does_not_keeps_what_it_had(tmp_path: Path) -> None:
    skip_without("power-cut")
    kept = {}
    for appendfsync in ("no", "always"):
        with ValkeyServer(tmp_path / appendfsync, ["appendfsync", appendfsync], prefix()) as engine:
            client = redis.Redis(unix_socket_path=str(engine.socket))
            client.set("early", "1")
            engine.traced.settle()
            client.set("late", "2")
            engine.kill()
            PowerCut().cut(engine.traced)
            engine.start()
            kept[appendfsync] = client.mget("early", "late")
            client.close()
    assert kept == {"no": [b"1", None], "always": [b"1", b"2"]}


def test_who_was_killed_has_ended_though_nobody_reaps_it() -> None:
    """An init that is slow, or does not reap at all, leaves an engine's orphans as zombies."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as killed:
        assert process.running_in_group(killed.pid) == [killed.pid]
        os.kill(killed.pid, signal.SIGKILL)
        assert process.wait_for_the_end([killed.pid]) == []
        assert psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.servers
@pytest.mark.parametrize(
    ("fault", "worker", "store", "says"),
    [
        ("power-cut", "sync", "journal", "were not synced"),
        ("torn-write", "gevent", "sqlite", "bytes of the last write to"),
    ],
)
def test_a_sale_whose_power_is_cut_has_every_order_that_was_acknowledged(
    fault: str, worker: str, store: str, says: str, tmp_path: Path
) -> None:
    result, happened = held(tmp_path, fault, worker=worker, store=store, guard="on")
    assert says in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why
    assert not (tmp_path / "strace").exists()


@pytest.mark.servers
def test_a_lab_that_is_killed_leaves_neither_its_office_nor_the_tracer_nor_after_the_next_start_the_trace(
    tmp_path: Path,
) -> None:
    if why := why_not():
        pytest.skip(why)
    line = "run --worker sync --store journal --capacity 100000 --fault power-cut --fault-at 99% --results"
    results, environment = tmp_path / "results", {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", *line.split(), str(results)]
    lab = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until(lambda: any(tmp_path.rglob("parts-*/*.jsonl")), "the sale began")
        family = [*psutil.Process(lab.pid).children(recursive=True), *named(tmp_path, "strace")]
    finally:
        lab.send_signal(signal.SIGKILL)
        lab.wait()
    assert any("strace" in each.name() for each in family)
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family), "all ended")
    assert not named(tmp_path, "")
    [calls] = results.glob("run/[0-9]*/strace/calls")
    again = [sys.executable, "-c", "from loadtests.lab.faults.leavings import clean_up; print(*clean_up())"]
    done = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{calls.parent}\n"
    assert not calls.parent.exists()
    assert [*calls.parent.parent.glob("data/*")]


def named(folder: Path, name: str) -> list[psutil.Process]:
    """The processes of this name whose command names the folder."""
    found = psutil.process_iter(["name", "cmdline"])
    here = [each for each in found if name in each.info["name"] and str(folder) in " ".join(each.info["cmdline"] or [])]
    return [each for each in here if each.pid != os.getpid()]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"fault": "power-cut", "store": "memory", "worker": "gthread", "processes": 1}, "take a store with files"),
        ({"fault": "torn-write", "store": "redis", "nodes": 3}, "is for one node"),
        ({"fault": "slow-disk,power-cut", "store": "journal"}, "cannot be in one run"),
        ({"fault": "power-cut,torn-write", "store": "journal"}, "cannot be in one run"),
        ({"fault": "power-cut", "target": ROOT / "examples" / "ticket_office.toml"}, "to the ticket office alone"),
        ({"store": "journal", "engine_settings": "appendfsync=no"}, "for an engine that the lab starts"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_started(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        experiment_of({}, settings)


def test_what_an_engines_settings_lose_they_lose_under_a_power_cut_alone() -> None:
    lossy = Service(store="redis", guard="on", engine_settings="save=60,appendfsync=everysec")
    assert expectation_of(lossy, "power-cut") is Expectation.WRONG
    assert expectation_of(lossy, "kill-engine") is Expectation.EXACT
    assert expectation_of(Service(store="redis", guard="on"), "power-cut") is Expectation.EXACT
    for store in STORES:
        if STORES[store].durable:
            assert expectation_of(Service(store=store, guard="on"), "lying-disk") is Expectation.WRONG


def test_a_machine_without_strace_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    why_not.cache_clear()
    try:
        assert "apt-get install strace" in fault_class("power-cut").needs()
    finally:
        why_not.cache_clear()


# -- all of them, for a long time -------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.servers
@pytest.mark.parametrize("fault", ["power-cut", "torn-write"])
@pytest.mark.parametrize("worker", WORKER_MODELS)
@pytest.mark.parametrize("store", [name for name, store in STORES.items() if store.durable])
def test_every_durable_store_keeps_what_it_acknowledged_through_a_power_cut(
    store: str, worker: str, fault: str, tmp_path: Path
) -> None:
    result, _ = held(tmp_path, fault, worker=worker, store=store, guard="on")
    assert result.verdict.verdict == "valid", result.verdict.why


@pytest.mark.soak
@pytest.mark.servers
@pytest.mark.parametrize("store", WITH_FILES)
def test_every_store_with_files_is_caught_on_a_disk_that_lies(store: str, tmp_path: Path) -> None:
    result, _ = held(tmp_path, "lying-disk", worker="gthread", store=store, guard="on")
    assert result.verdict.verdict == "invalid"


@pytest.mark.soak
@pytest.mark.servers
def test_a_postgresql_that_answers_before_it_syncs_loses_what_it_answered_for(tmp_path: Path) -> None:
    """It would sync every 10 s, and the cut comes before."""
    skip_without("power-cut")
    kept = {}
    for synchronous_commit in ("off", "on"):
        settings = [f"synchronous_commit={synchronous_commit}", "wal_writer_delay=10s"]
        with PostgresServer(tmp_path / synchronous_commit, settings, prefix()) as engine:
            with psycopg.connect(engine.url, autocommit=True) as session:
                session.execute("CREATE TABLE kept (number int)")
                session.execute("CHECKPOINT")
                for number in range(20):
                    session.execute("INSERT INTO kept VALUES (%s)", (number,))
                engine.kill()
                PowerCut().cut(engine.traced)
            engine.start()
            with psycopg.connect(engine.url) as session:
                kept[synchronous_commit] = session.execute("SELECT count(*) FROM kept").fetchall()
    assert kept["on"] == [(20,)]
    assert kept["off"] < [(20,)]


@pytest.mark.soak
@pytest.mark.servers
@pytest.mark.parametrize(
    ("store", "setting"), [("redis", "appendfsync=everysec"), ("postgres", "synchronous_commit=off")]
)
def test_an_engine_that_answers_before_it_syncs_is_caught(store: str, setting: str, tmp_path: Path) -> None:
    """Not in each run: the cut may come right after a sync of its own, or take the event, too."""
    found = (
        held(tmp_path / str(number), "power-cut", worker="gthread", store=store, guard="on", engine_settings=setting)[0]
        for number in range(5)
    )
    assert any(result.expectation is Expectation.WRONG and result.verdict.lost for result in found)
