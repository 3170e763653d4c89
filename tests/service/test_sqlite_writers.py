"""Writers of the store ``sqlite``: its lock, its transactions, shared commits, gevent's hub, a fork and a kill."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlite_sales import FAR_S, SHOW, sell, sold, write
from typed import wait_for

from service.errors import Problem
from service.guards import Transaction, base
from service.guards.immediate import ImmediateGuard
from service.guards.optimistic import OptimisticGuard
from service.rules.inventory import Sell, decide_all
from service.sales.box_office import BoxOffice
from service.settings import Settings
from service.stores.base import Conflict
from service.stores.sqlite import connections
from service.stores.sqlite.store import Sqlite
from service.switch.shared_memory import Control


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path, lock_timeout_s=FAR_S))
    opened.create(SHOW)
    yield opened
    opened.close()


@contextmanager
def in_a_child(work: Callable[[], None]) -> Iterator[None]:
    """``work`` in a fork of this process, which is killed with the block."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    try:
        yield
    finally:
        child.kill()
        child.join(FAR_S)


# -- locks ------------------------------------------------------------------------------------------------------------


def test_who_waits_too_long_for_another_process_is_told_so_and_readers_do_not_wait(tmp_path: Path) -> None:
    store = Sqlite(Settings(data=tmp_path, lock_timeout_s=0.05))
    store.create(SHOW)
    other = sqlite3.connect(tmp_path / "lastseat.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    blocked: list[bool] = []
    with (
        pytest.raises(Problem) as problem,
        store.transaction("show", ImmediateGuard.lock, time.monotonic() + 0.05, lambda: blocked.append(True)),
    ):
        pytest.fail("two writers at once")
    assert (problem.value.code, problem.value.kind.definite, blocked) == ("lock_timeout", True, [True])
    assert store.view("show").version == 0
    with pytest.raises(Problem, match="lock_timeout"):
        write(store, "a")
    other.close()
    sell(store, "a")


def test_who_waits_too_long_for_another_thread_is_told_so(store: Sqlite) -> None:
    told = []

    def wait() -> None:
        try:
            with store.transaction("show", ImmediateGuard.lock, time.monotonic() + 0.05):
                told.append("inside")
        except Problem as problem:
            told.append(problem.code)

    with store.transaction("show", ImmediateGuard.lock, time.monotonic() + FAR_S):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(FAR_S)
    assert told == ["lock_timeout"]


def test_nobody_sees_what_is_not_committed_and_a_failed_transaction_leaves_nothing(store: Sqlite) -> None:
    seen = []
    with pytest.raises(ZeroDivisionError), store.transaction("show", ImmediateGuard.lock, time.monotonic() + FAR_S):
        write(store, "a")
        assert store.view("show").version == 1
        reader = threading.Thread(target=lambda: seen.append(store.view("show").version))
        reader.start()
        reader.join(FAR_S)
        raise ZeroDivisionError
    assert seen == [0]
    assert (store.view("show").version, list(store.audit("show")[1])) == (0, [])


def test_a_conditional_append_after_somebody_elses_writes_nothing(store: Sqlite) -> None:
    stale = store.view("show")
    sell(store, "a")
    with pytest.raises(Conflict):
        store.append_if_unchanged(sold(stale, "b"))
    assert [record.key for record in store.audit("show")[1]] == ["a"]


def test_an_append_to_an_event_made_anew_under_the_same_name_writes_nothing(store: Sqlite) -> None:
    """Its version would be the same again: it is told apart by its row, whose number is never used again."""
    stale = store.view("show")
    store.delete("show")
    store.create(SHOW)
    with pytest.raises(Conflict):
        store.append_if_unchanged(sold(stale, "a"))
    with pytest.raises(Problem, match="unknown_event"):
        store.append(sold(stale, "a"))
    assert store.view("show").version == 0


def test_who_loses_every_time_gives_up_definitely(store: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_ATTEMPTS", 3)
    overtaken = []

    def be_overtaken(views: Any, commands: Any, now: datetime) -> Any:
        overtaken.append(f"other-{len(overtaken)}")
        sell(store, overtaken[-1])
        return decide_all(views[0], commands[0], now), views

    transaction = Transaction(
        store, ["show"], lambda: [[Sell("mine", "r", "o-mine", 1)]], be_overtaken, time.monotonic() + FAR_S
    )
    with pytest.raises(Problem) as problem:
        OptimisticGuard(Settings(), store).run(transaction)
    assert (problem.value.code, problem.value.kind.definite) == ("contention", True)
    assert [record.key for record in store.audit("show")[1]] == overtaken == ["other-0", "other-1", "other-2"]


class SlowDisk:
    """A connection whose first commit, once it is ``slow``, lasts until it is ``done``."""

    slow, begun, done = False, threading.Event(), threading.Event()
    commits = 0

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if SlowDisk.slow and statement == "COMMIT":
            SlowDisk.commits += 1
            SlowDisk.begun.set()
            assert SlowDisk.done.wait(FAR_S)
        return self._connection.execute(statement, *arguments)


@pytest.mark.parametrize(("batch", "commits"), [(1, 6), (64, 2)])
@pytest.mark.parametrize("guard", ["immediate", "optimistic", "atomic"])
def test_those_who_come_while_a_commit_waits_for_the_disk_share_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, batch: int, commits: int
) -> None:
    really_open = connections.open_connection
    monkeypatch.setattr(connections, "open_connection", lambda path: SlowDisk(really_open(path)))
    for name, value in {"begun": threading.Event(), "done": threading.Event(), "commits": 0}.items():
        monkeypatch.setattr(SlowDisk, name, value)
    settings = Settings(data=tmp_path, store="sqlite", batch=batch, lock_timeout_s=FAR_S)
    control = Control(tmp_path)
    control.start(guard, "test", FAR_S)
    office = BoxOffice(settings, Sqlite(settings), control, 1)
    office.create(SHOW)
    monkeypatch.setattr(SlowDisk, "slow", True)
    with ThreadPoolExecutor(6) as pool:
        buying = [pool.submit(office.buy, "show", key="first", request="", quantity=1, buyer=None)]
        assert SlowDisk.begun.wait(FAR_S)
        buying += [
            pool.submit(office.buy, "show", key=f"k{number}", request="", quantity=1, buyer=None) for number in range(5)
        ]
        if batch > 1:
            deadline = time.monotonic() + FAR_S
            while len(office._lines["show"]._waiting) < 5:
                assert time.monotonic() < deadline, "they do not stand in line"
                time.sleep(0.001)
        SlowDisk.done.set()
        tickets = sorted(each.result(FAR_S).record.tickets for each in buying)
    assert tickets == [(number,) for number in range(1, 7)]
    assert SlowDisk.commits == commits


@pytest.mark.parametrize("guard", ["immediate", "optimistic", "atomic"])
def test_a_purchase_that_a_rule_of_the_tables_refuses_takes_none_of_its_batch_with_it(
    tmp_path: Path, guard: str
) -> None:
    settings = Settings(data=tmp_path, store="sqlite", lock_timeout_s=FAR_S)
    control = Control(tmp_path)
    control.start(guard, "test", FAR_S)
    office = BoxOffice(settings, Sqlite(settings), control, 1)
    office.create(SHOW)

    def bought(buyer: str) -> str:
        try:
            office.buy("show", key=buyer, request="", quantity=1, buyer=buyer)
        except Problem as problem:
            return problem.code
        return "ok"

    def standing() -> int:
        return len(office._lines["show"]._waiting) + office._lines["show"]._kept

    names = ["ann", "bob", "zoe", "cid", "dan"]
    with sqlite3.connect(tmp_path / "lastseat.db", isolation_level=None) as other, ThreadPoolExecutor(6) as pool:
        other.execute(
            "CREATE TRIGGER no_zoe BEFORE INSERT ON records WHEN NEW.buyer = 'zoe' "
            "BEGIN SELECT RAISE(ABORT, 'planned'); END"
        )
        other.execute("BEGIN IMMEDIATE")
        buying = [pool.submit(bought, "first")]
        wait_for(lambda: standing() == 1, "the first one to wait")
        buying += [pool.submit(bought, name) for name in names]
        wait_for(lambda: standing() == 6, "the others to stand in line")
        other.execute("ROLLBACK")
        assert [each.result(FAR_S) for each in buying] == ["ok", "ok", "ok", "storage_refused", "ok", "ok"]
    assert office.look("show")[0].sold == 5


# -- processes --------------------------------------------------------------------------------------------------------


def test_a_process_forked_after_the_opening_is_refused_and_told_so(store: Sqlite) -> None:
    """SQLite in it would go by locks that its parent has. Left to itself it sells, or waits for ever."""
    told, tell = multiprocessing.Pipe(duplex=False)

    def try_to_sell() -> None:
        for call in (lambda: sell(store, "child"), lambda: store.view("show")):
            with pytest.raises(Problem) as problem:
                call()
            tell.send((problem.value.code, problem.value.kind.definite, "--preload" in problem.value.detail))

    with in_a_child(try_to_sell):
        for _ in range(2):
            assert told.poll(FAR_S)
            assert told.recv() == ("storage_refused", True, True)
    sell(store, "a")
    assert [record.key for record in store.audit("show")[1]] == ["a"]


def test_a_writer_killed_in_its_transaction_leaves_nothing_and_frees_the_lock(store: Sqlite, tmp_path: Path) -> None:
    inside, tell = multiprocessing.Pipe(duplex=False)

    def die_inside() -> None:
        mine = Sqlite(Settings(data=tmp_path))
        with mine.transaction("show", ImmediateGuard.lock, time.monotonic() + FAR_S):
            write(mine, "never")
            tell.send(True)
            threading.Event().wait()

    with in_a_child(die_inside):
        assert inside.poll(FAR_S)
    sell(store, "a")
    assert [record.key for record in store.audit("show")[1]] == ["a"]


# A commit that takes until another greenlet has written into a pipe: where it stops the hub, none ever does.
_SLOW_COMMIT = """
from gevent import monkey; monkey.patch_all()
import gevent, os, sys, time
from pathlib import Path
from service.stores.sqlite import connections
from service.stores.sqlite.store import Sqlite
from service.settings import Settings
from service.rules.inventory import Event

really_open, wait_for = connections.open_connection, monkey.get_original("select", "select")
read_end, write_end = os.pipe()
slow, heard = False, []

def traced(statement):
    if slow and statement == "COMMIT":
        heard.append(bool(wait_for([read_end], [], [], float(sys.argv[3]))[0]))

def open_traced(path):
    connection = really_open(path)
    connection.set_trace_callback(traced)
    return connection

connections.open_connection = open_traced
if sys.argv[2] == "in the hub":
    connections.call_blocking = lambda call: call()
store = Sqlite(Settings(data=Path(sys.argv[1])))
slow = True
creating = gevent.spawn(store.create, Event("show", "Show", 1))

def look_and_go_on():
    assert store.names() == []
    os.write(write_end, b"x")

gevent.joinall([creating, gevent.spawn(look_and_go_on)], raise_error=True)
print(heard, store.names())
"""


@pytest.mark.servers
@pytest.mark.parametrize(("where", "patience_s", "heard"), [("in the hub", 0.3, False), ("as it is", FAR_S, True)])
def test_gevents_hub_goes_on_while_a_commit_waits_for_the_disk(
    tmp_path: Path, where: str, patience_s: float, heard: bool
) -> None:
    command = [sys.executable, "-c", _SLOW_COMMIT, str(tmp_path), where, str(patience_s)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * FAR_S, check=False)
    if heard:
        assert ran.stdout == "[True] ['show']\n", ran.stderr
    else:
        assert "True" not in ran.stdout
