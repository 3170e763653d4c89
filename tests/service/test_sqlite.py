"""The store ``sqlite``: what its errors mean for a buyer, and which files it takes for its own."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from sqlite_sales import FAR_S, NOW, SHOW, sell

from service.errors import Problem, RefusedToStart
from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import Cancel, Event, Hold, Record, Sell, Wish, decide_all
from service.runtime.gunicorn import Server, refuse_unsafe
from service.settings import Settings
from service.stores.sqlite import connections, schema
from service.stores.sqlite.schema import FORMAT
from service.stores.sqlite.store import Sqlite


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path, lock_timeout_s=FAR_S))
    opened.create(SHOW)
    yield opened
    opened.close()


# -- errors -----------------------------------------------------------------------------------------------------------


class Failing:
    """A connection of which one kind of statement fails with one of SQLite's codes for as long as ``fails``."""

    fails = False

    def __init__(self, connection: sqlite3.Connection, statement: str, code: int) -> None:
        self._connection = connection
        self._statement = statement
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if Failing.fails and statement.lstrip().startswith(self._statement):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(statement, *arguments)


class Told(NamedTuple):
    statement: str
    error: int
    code: str
    definite: bool


TOLD = [
    Told("UPDATE events", sqlite3.SQLITE_FULL, "storage_full", True),
    Told("UPDATE events", sqlite3.SQLITE_READONLY, "storage_refused", True),
    Told("UPDATE events", sqlite3.SQLITE_IOERR_READ, "storage_refused", True),
    Told("UPDATE events", sqlite3.SQLITE_CORRUPT, "corrupt_document", True),
    Told("UPDATE events", sqlite3.SQLITE_NOTADB, "corrupt_document", True),
    Told("UPDATE events", sqlite3.SQLITE_NOMEM, "internal", False),
    Told("BEGIN IMMEDIATE", sqlite3.SQLITE_BUSY, "lock_timeout", True),
    Told("BEGIN IMMEDIATE", sqlite3.SQLITE_CANTOPEN, "storage_refused", True),
    Told("COMMIT", sqlite3.SQLITE_FULL, "storage_full", True),
    Told("COMMIT", sqlite3.SQLITE_READONLY, "storage_refused", True),
    Told("COMMIT", sqlite3.SQLITE_IOERR_WRITE, "storage_refused", True),
    Told("COMMIT", sqlite3.SQLITE_IOERR_FSYNC, "not_durable", False),
    Told("COMMIT", sqlite3.SQLITE_IOERR_FSTAT, "not_durable", False),
    Told("COMMIT", sqlite3.SQLITE_NOMEM, "not_durable", False),
]


@pytest.mark.parametrize("guard", ["none", "immediate", "optimistic", "atomic"])
@pytest.mark.parametrize("told", TOLD, ids=[f"{told.statement}-{told.error}" for told in TOLD])
def test_each_error_says_whether_it_is_definite_and_only_a_doubtful_commit_closes_the_store(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, guard: str, told: Told
) -> None:
    really_open = connections.open_connection
    monkeypatch.setattr(
        connections, "open_connection", lambda path: Failing(really_open(path), told.statement, told.error)
    )
    client = make_client(store="sqlite", guard=guard, lock_timeout_s=0.05)
    monkeypatch.setattr(Failing, "fails", True)
    answer = client.post("/events/show/orders", json={"quantity": 1})
    assert (answer.json["code"], answer.json["definite"]) == (told.code, told.definite)
    monkeypatch.setattr(Failing, "fails", False)
    again = client.post("/events/show/orders", json={"quantity": 1})
    if told.code == "not_durable":
        assert (again.json["code"], again.json["definite"]) == ("store_closed", True)
    else:
        assert again.json["tickets"] == [1], "an error left something behind"


# -- what a view costs ------------------------------------------------------------------------------------------------


def test_what_several_commands_need_to_see_is_found_by_the_index_however_many_records_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for several keys in the order of the rows, SQLite would read every record of the event."""
    steps: list[int] = []
    really_open = connections.open_connection

    def counting(path: Path) -> sqlite3.Connection:
        opened = really_open(path)
        opened.set_progress_handler(lambda: steps.append(10), 10)
        return opened

    monkeypatch.setattr(connections, "open_connection", counting)
    store = Sqlite(Settings(data=tmp_path, lock_timeout_s=FAR_S))
    store.create(SHOW)
    wanted = [Sell(f"key-{number}", "r", f"o-{number}", 1) for number in range(8)]
    wanted += [Cancel("c", "r", "order-1"), Cancel("d", "r", "order-2")]
    found = []
    for _ in range(2):
        del steps[:]
        store.view("show", wanted)
        found.append(sum(steps))
        view = store.view("show")
        decide_all(
            view, [Sell(f"{view.version}-{number}", "r", f"{view.version}-{number}", 1) for number in range(2_000)], NOW
        )
        store.append([view])
    store.close()
    few, many = found
    assert many <= 3 * few + 300, found


# -- guards that do not fit ------------------------------------------------------------------------------------------


def test_a_guard_that_does_not_fit_is_refused_with_those_that_do(
    make_client: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    fitting = "none, thread, immediate, optimistic, atomic"
    with pytest.raises(RefusedToStart, match=f"Guard 'file' does not fit store 'sqlite'. These do: {fitting}"):
        make_client(store="sqlite", guard="file")
    answer = make_client(store="sqlite").put("/guard", json={"guard": "file"}, headers=admin)
    assert (answer.status_code, answer.json["code"], answer.json["guards"]) == (422, "guard_unfit", fitting.split(", "))


def test_a_guard_of_one_process_is_refused_for_several_and_the_stores_own_is_named() -> None:
    settings, several = Settings(store="sqlite", guard="thread"), Server("master", processes=2)
    with pytest.raises(RefusedToStart, match="LASTSEAT_GUARD=immediate"):
        refuse_unsafe(settings, "thread", Sqlite.scope, Sqlite.safe_guard, several)


# -- the file ---------------------------------------------------------------------------------------------------------


def _another_programs(path: Path) -> None:
    sqlite3.connect(path).executescript("CREATE TABLE events (id); CREATE TABLE records (id);").connection.close()


def _of_a_later_version(path: Path) -> None:
    Sqlite(Settings(data=path.parent)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()


NOT_OURS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no database": (lambda path: path.write_bytes(b"seats and tickets\n" * 500), "not a database"),
    "another program's": (_another_programs, "made by another program"),
    "of a later version": (_of_a_later_version, f"has format {FORMAT + 1}, and this service reads {FORMAT}"),
}


@pytest.mark.parametrize(("make", "says"), NOT_OURS.values(), ids=NOT_OURS)
def test_a_file_that_is_not_this_stores_is_refused_at_start_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], Any], says: str
) -> None:
    path = tmp_path / "lastseat.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(RefusedToStart, match=says):
        Sqlite(Settings(data=tmp_path))
    assert path.read_bytes() == before


def test_a_damaged_page_is_refused_and_said(store: Sqlite, tmp_path: Path) -> None:
    for number in range(200):
        sell(store, f"k{number}")
    store.close()
    path = tmp_path / "lastseat.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(RefusedToStart, match="put a good copy back"):
        Sqlite(Settings(data=tmp_path))
    with pytest.raises(Problem, match="corrupt_document"):
        store.view("show")


def test_a_copy_put_in_its_place_under_a_running_service_sells_nothing(store: Sqlite, tmp_path: Path) -> None:
    path = tmp_path / "lastseat.db"
    with sqlite3.connect(tmp_path / "copy") as copy:
        sqlite3.connect(path).backup(copy)
    sell(store, "a")
    shutil.move(tmp_path / "copy", path)
    for call in (lambda: store.view("show"), lambda: sell(store, "b"), lambda: store.audit("show")):
        with pytest.raises(Problem, match="removed or replaced"):
            call()


def test_what_a_killed_start_left_is_tidied(store: Sqlite, tmp_path: Path) -> None:
    (tmp_path / "lastseat.db.4711.0.tmp").touch()
    (tmp_path / "lastseat.db.4711.0.tmp-wal").touch()
    store.tidy()
    assert not list(tmp_path.glob("*.tmp*"))


# -- a database of an older format ------------------------------------------------------------------------------------

BEFORE_HOLDS = """
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1280529457;
PRAGMA user_version = 1;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, about TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0, sold INTEGER NOT NULL DEFAULT 0, next_ticket INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL,
    key TEXT NOT NULL, order_id TEXT NOT NULL, quantity INTEGER NOT NULL, first_ticket INTEGER NOT NULL,
    remaining INTEGER NOT NULL, request TEXT NOT NULL, buyer TEXT
);
CREATE INDEX records_of_event ON records (event);
CREATE INDEX records_by_key ON records (event, key);
CREATE INDEX records_by_order ON records (event, order_id);
CREATE INDEX records_by_buyer ON records (event, buyer, kind, quantity) WHERE buyer IS NOT NULL;
INSERT INTO events (name, about, version, sold, next_ticket)
    VALUES ('show', '{"event":"show","name":"Show","capacity":9,"lab":true}', 1, 2, 3);
INSERT INTO records (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer)
    VALUES (1, 1, 'sold', 'a', 'o-a', 2, 1, 7, 'r', NULL);
"""

BEFORE_HALLS = (
    BEFORE_HOLDS.replace("user_version = 1", "user_version = 3")
    .replace("next_ticket INTEGER NOT NULL DEFAULT 1", "next_ticket INTEGER NOT NULL DEFAULT 1, held INTEGER DEFAULT 0")
    .replace("buyer TEXT\n", "buyer TEXT, hold_id TEXT, expires_at INTEGER, cart TEXT\n")
    + """
CREATE INDEX records_by_hold ON records (event, hold_id) WHERE hold_id IS NOT NULL;
CREATE TABLE open_holds (
    event INTEGER NOT NULL, expires_at INTEGER NOT NULL, version INTEGER NOT NULL, hold_id TEXT NOT NULL,
    PRIMARY KEY (event, expires_at, version, hold_id)
) WITHOUT ROWID;
"""
)
OLDER = {1: BEFORE_HOLDS, 3: BEFORE_HALLS}


@pytest.fixture(params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory as a version without holds, or without halls, left it."""
    connection = sqlite3.connect(tmp_path / "lastseat.db", isolation_level=None)
    connection.executescript(OLDER[request.param])
    connection.close()
    return tmp_path


def test_a_database_from_before_holds_or_halls_keeps_its_sales_and_has_both(older: Path) -> None:
    hall = Hall(Plan((Section("s", (Row("A", 2),)),)))
    for opening in range(2):  # the second opening finds it upgraded
        store = Sqlite(Settings(data=older))
        view = store.view("show", [Hold("b", "r", "h1", 3, 60)], NOW)
        if not view.keys:
            decide_all(view, [Hold("b", "r", "h1", 3, 60)], NOW)
            store.append([view])
        assert [(record.kind, record.tickets) for record in store.audit("show")[1]] == [
            ("sold", (1, 2)), ("held", (3, 4, 5)),
        ]  # fmt: skip
        assert (store.view("show").sold, store.view("show").held) == (2, 3)
        if opening == 0:
            store.halls.keep(hall)
            store.create(Event("seated", "Seated", 2, hall=hall.name, born="b"))
            asked = [Sell("a", "r", "o", 1, wish=Wish(("s-A-2",)))]
            [sold], _ = store.commit_atomically("seated", asked, NOW, monotonic() + FAR_S)
            assert isinstance(sold, Record)
        assert list(store.seats("seated").seats) == [0, 2]
        store.close()


@pytest.mark.parametrize("step", ["_FROM_1", "_FROM_3"])
def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    older: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def schema_of_file() -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(older / "lastseat.db")) as connection:
            asked = "SELECT type, name, sql, (SELECT user_version FROM pragma_user_version) FROM sqlite_schema"
            return connection.execute(asked).fetchall()

    before, right = schema_of_file(), getattr(schema, step)
    # The last statement of a step: all before it have been carried out by then.
    monkeypatch.setattr(schema, step, f"{right.rstrip().rstrip(';')}; CREATE TABEL nothing" + ";" * (step == "_FROM_1"))
    if step == "_FROM_3" or before[0][-1] == 1:
        with pytest.raises(sqlite3.Error):
            schema.upgrade_file(older / "lastseat.db")
        assert schema_of_file() == before
    monkeypatch.setattr(schema, step, right)
    assert Sqlite(Settings(data=older)).view("show").held == 0
    assert schema_of_file() != before


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """The file is another program's alone until what is given here is called."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield connection.close
    finally:
        connection.close()


def test_a_start_that_meets_the_file_locked_waits_and_upgrades_it_then(
    older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    with locked(older / "lastseat.db") as unlock:

        def let_go_at_the_third_look(_poll_s: float) -> None:
            looked.append(1)
            if len(looked) == 3:
                unlock()

        monkeypatch.setattr("service.stores.sqlite.schema.time.sleep", let_go_at_the_third_look)
        assert Sqlite(Settings(data=older)).view("show").held == 0
    assert len(looked) == 3


def test_a_file_that_stays_locked_is_refused_and_said(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_PATIENCE_S", 0.05)
    with locked(older / "lastseat.db"):
        with pytest.raises(RefusedToStart, match=r"locked by another program for 0\.05 s\. Nothing was written"):
            Sqlite(Settings(data=older))
        with pytest.raises(RefusedToStart, match="start again"):
            schema.upgrade_file(older / "lastseat.db")


def test_workers_that_start_at_once_upgrade_it_once(older: Path) -> None:
    failed: list[Exception] = []
    together = threading.Barrier(8)

    def start() -> None:
        try:
            together.wait(30)
            Sqlite(Settings(data=older)).view("show")
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=start) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert failed == []


@pytest.mark.parametrize("error", [FileNotFoundError(2, "it is gone"), sqlite3.OperationalError("disk I/O error")])
def test_a_worker_whose_half_made_file_a_faster_one_tidied_away_takes_the_other_ones(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lastseat.db"
    whole = schema._sync

    def too_slow(temporary: Path) -> None:
        monkeypatch.setattr(schema, "_sync", whole)
        schema.make_file(path)
        temporary.unlink()
        raise error

    monkeypatch.setattr(schema, "_sync", too_slow)
    schema.make_file(path)
    schema.check_file(path)
    assert [each.name for each in tmp_path.iterdir() if ".tmp" in each.name] == []
