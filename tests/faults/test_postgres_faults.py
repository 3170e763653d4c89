"""PostgreSQL refuses, goes away, comes back, comes back empty: what the buyer is told, and whether it is true.

Each on a private server of its own that may be killed. The office runs in this process, over its HTTP interface.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import memory
import psycopg
import pytest
from flask.testing import FlaskClient
from pgbouncer import PgBouncer
from typed import wait_for

from loadtests.lab.servers.engines import NoEngine, set_up
from loadtests.lab.servers.postgres import PostgresServer
from service.errors import Problem, RefusedToStart
from service.guards import base
from service.settings import Settings
from service.stores.postgres.schema import MIGRATIONS, VERSION
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers
FAR = 90.0
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    options = ["wal_level=replica", "max_wal_senders=2", "max_connections=20", "superuser_reserved_connections=3"]
    # In memory: at the start after a kill the engine syncs every file of every database.
    with memory.temporary_folders(2 * memory.GIB):
        server = PostgresServer(tmp_path_factory.mktemp("postgres"), options)
    with server as running:
        yield running


@pytest.fixture
def url(server: PostgresServer) -> str:
    made = server.fresh_database()
    set_up(made)
    return made


@pytest.fixture
def open_office(make_client: Callable[..., FlaskClient]) -> Callable[..., FlaskClient]:
    return lambda url, **settings: make_client(store="postgres", store_url=url, **({"lock_timeout_s": 5.0} | settings))


def buy(client: FlaskClient, key: str = "", **headers: str) -> Any:
    keyed = {"Idempotency-Key": key} if key else {}
    return client.post("/events/show/orders", data=b'{"quantity":1}', headers=JSON | keyed | headers)


def told(answer: Any) -> tuple[int, str, bool]:
    return answer.status_code, answer.json["code"], answer.json["definite"]


@contextlib.contextmanager
def asking(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection beside the office."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def sold(url: str) -> int:
    with asking(url) as connection:
        return int(connection.execute("SELECT count(*) FROM lastseat.records").fetchall()[0][0])


def backends(connection: psycopg.Connection[Any], condition: str) -> list[int]:
    whose = "application_name = 'lastseat' AND datname = current_database()"
    asked = f"SELECT pid FROM pg_stat_activity WHERE {whose} {condition}"
    return [pid for (pid,) in connection.execute(asked).fetchall()]  # type: ignore[call-overload]


# -- at the start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://u:hush-hush@/x?host=/nowhere", "cannot be reached"),
        ("postgresql://u:hush-hush@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://u:hush%zz@h/x", "no address that PostgreSQL understands"),
        ("postgresql://u:hush-hush@/x?hots=h", "no address that PostgreSQL understands"),
    ],
)
def test_an_engine_that_is_not_there_refuses_the_start_without_the_password(
    open_office: Callable[..., FlaskClient], address: str, words: str
) -> None:
    with pytest.raises(RefusedToStart) as refused:
        open_office(address)
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_wrong_password_refuses_the_start_and_is_not_repeated(
    server: PostgresServer, open_office: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RefusedToStart) as refused:
        open_office(server.address("postgres", password="hush-hush"))
    assert "user or the password" in str(refused.value)
    assert "hush" not in str(refused.value) + "".join(capfd.readouterr())


def test_a_missing_database_and_a_missing_schema_name_the_command_that_makes_them(
    server: PostgresServer, open_office: Callable[..., FlaskClient]
) -> None:
    for address in (server.address("no_such_database"), server.fresh_database()):
        with pytest.raises(RefusedToStart) as refused:
            open_office(address)
        assert "lastseat store init" in str(refused.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_name_is_refused_before_anything_is_made(
    server: PostgresServer, open_office: Callable[..., FlaskClient], encoding: str
) -> None:
    name = f"other_letters_{encoding.lower()}"
    with asking(server.url) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")  # type: ignore[call-overload]
    other = server.address(name)
    with pytest.raises(NoEngine, match=f"encoding {encoding}.*UTF8"):
        set_up(other)
    with pytest.raises(RefusedToStart, match=f"encoding {encoding}.*UTF8"):
        open_office(other)
    with asking(other) as connection:
        assert connection.execute("SELECT to_regnamespace('lastseat')").fetchall() == [(None,)]


def test_the_clients_own_encoding_changes_no_name(
    url: str, open_office: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    client = open_office(url)
    for buyer in ("Zoë", "\U0001f3ab"):
        assert client.post("/events/show/orders", json={"quantity": 1, "buyer": buyer}).status_code == 201
    with asking(url) as connection:
        connection.execute("SET client_encoding = 'UTF8'")
        rows = connection.execute("SELECT convert_to(buyer, 'UTF8') FROM lastseat.records ORDER BY id").fetchall()
    assert [bytes(each).decode() for (each,) in rows] == ["Zoë", "\U0001f3ab"]


def test_events_are_listed_whole_in_a_database_that_sorts_as_a_language_does(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url, first_event=None)
    names = ["a-c", "aa", "ab", "a_d"]
    with asking(url) as connection:
        alphabets = connection.execute(
            "SELECT quote_ident(collname) FROM pg_collation WHERE collprovider = 'i' AND collname LIKE 'en%'"
        ).fetchall()
        if not alphabets:
            pytest.skip("this PostgreSQL was built without languages")
        connection.execute(f"ALTER TABLE lastseat.events ALTER COLUMN name TYPE text COLLATE {alphabets[0][0]}")  # type: ignore[call-overload]
    for name in names:
        new = {"event": name, "capacity": 1}
        assert client.post("/events", json=new, headers={"Authorization": "Bearer test-token"}).status_code == 201
    listed: list[str] = []
    address: str | None = "/events?limit=1"
    while address:
        page = client.get(address).json
        listed += [each["event"] for each in page["events"]]
        address = page["next"]
    assert listed == sorted(names)


@pytest.mark.parametrize("other", [VERSION + 1, 0])
def test_a_schema_of_another_version_is_refused_and_said_which(
    url: str, open_office: Callable[..., FlaskClient], other: int
) -> None:
    with asking(url) as connection:
        connection.execute("UPDATE lastseat.about SET version = %s", (other,))
    with pytest.raises(RefusedToStart) as refused:
        open_office(url)
    assert (f"version {other}" if other else "no schema") in str(refused.value)


def test_settings_of_the_engine_that_lose_sales_are_warned_of(
    url: str, open_office: Callable[..., FlaskClient], capfd: pytest.CaptureFixture[str]
) -> None:
    open_office(url, data=Path(url.rpartition("host=")[2]) / "first")
    assert "synchronous_commit" not in capfd.readouterr().err
    with asking(url) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off")
    open_office(url)
    assert "synchronous_commit=off" in capfd.readouterr().err


def test_a_respawned_worker_starts_while_the_engine_is_away(
    server: PostgresServer, url: str, open_office: Callable[..., FlaskClient]
) -> None:
    """Else one worker that ends during an outage would end the whole master, and the outage would outlive itself."""
    open_office(url)
    server.kill()
    try:
        respawned = open_office(url)
        assert told(buy(respawned))[1:] == ("engine_unreachable", True)
        assert respawned.get("/readyz").status_code == 503
    finally:
        server.start()
    assert buy(respawned).status_code == 201


# -- during the sale --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", ["none", "row", "serializable", "optimistic", "atomic"])
def test_an_engine_that_is_away_is_a_definite_503_and_one_that_is_back_sells_on(
    server: PostgresServer, url: str, open_office: Callable[..., FlaskClient], guard: str
) -> None:
    client = open_office(url, guard=guard)
    assert buy(client, "before").status_code == 201
    server.kill()
    try:
        assert told(buy(client, "while away")) == (503, "engine_unreachable", True)
    finally:
        server.start()
    assert buy(client, "after").status_code == 201
    replayed = buy(client, "before")
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert sold(url) == 2


def test_an_engine_that_stands_still_is_not_waited_for_for_ever(
    server: PostgresServer, url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url, lock_timeout_s=1.0)
    assert buy(client).status_code == 201
    server.pause()
    try:
        assert told(buy(client)) == (503, "engine_unreachable", True)
    finally:
        server.resume()
    wait_for(lambda: buy(client).status_code == 201, "a sale after the engine went on")


def test_an_engine_without_a_free_connection_says_how_to_get_one(
    server: PostgresServer, url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url)
    store = client.application.extensions["office"].store
    office_user = url.replace("lastseat:", "office:", 1)
    with asking(url) as connection:
        connection.execute("DROP ROLE IF EXISTS office")
        connection.execute(f"CREATE ROLE office LOGIN PASSWORD '{server.password}'")  # type: ignore[call-overload]
        with contextlib.ExitStack() as taken:
            store.close()
            wait_for(lambda: not backends(connection, ""), "the office's own connections to end")
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(psycopg.connect(office_user))
            store._connections._parameters["user"] = "office"
            answer = buy(client)
        store._connections._parameters["user"] = "lastseat"
        connection.execute("DROP ROLE office")
    assert told(answer) == (503, "pool_exhausted", True)
    assert "max_connections" in answer.json["detail"]


def test_a_process_without_a_free_connection_says_so_definitely(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url, pool=1, lock_timeout_s=1.0)
    store = client.application.extensions["office"].store
    client.application.extensions["office"].look("show")
    entered, leave = threading.Event(), threading.Event()

    def hog() -> None:
        with store._transactions.transaction():
            entered.set()
            leave.wait(FAR)

    with ThreadPoolExecutor(1) as pool:
        hogging = pool.submit(hog)
        assert entered.wait(FAR)
        try:
            answer = client.get("/events/show")
        finally:
            leave.set()
        # PostgreSQL may have ended it meanwhile, for being idle longer than anybody waits.
        hogging.exception(FAR)
    assert told(answer) == (503, "pool_exhausted", True)
    assert "LASTSEAT_POOL" in answer.json["detail"]
    assert buy(client).status_code == 201


def test_a_lock_that_somebody_else_keeps_is_waited_for_no_longer_than_the_limit(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url, lock_timeout_s=1.0)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT 1 FROM lastseat.events FOR UPDATE")
        assert told(buy(client)) == (503, "lock_timeout", True)
        holder.rollback()
    assert buy(client).status_code == 201


def test_a_holder_whose_backend_is_terminated_has_written_nothing_and_frees_the_lock(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url)
    assert buy(client, "before").status_code == 201  # its statements are prepared
    with psycopg.connect(url) as other, asking(url) as admin, ThreadPoolExecutor(2) as pool:
        # It stands in its INSERT, the event's row locked.
        other.execute("LOCK TABLE lastseat.records IN EXCLUSIVE MODE")
        holder = pool.submit(buy, client, "holder")
        [pid] = wait_for(lambda: backends(admin, "AND wait_event_type = 'Lock'"), "the holder to stand in its write")
        waiting = pool.submit(buy, open_office(url), "waiting")
        wait_for(lambda: len(backends(admin, "AND wait_event_type = 'Lock'")) == 2, "somebody to wait for its row")
        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        assert told(holder.result(FAR)) == (503, "engine_unreachable", True)
        other.rollback()
        assert waiting.result(FAR).status_code == 201
    assert sold(url) == 2


def test_a_holder_whose_connection_ends_without_a_word_while_it_writes_may_have_committed(
    server: PostgresServer, url: str, open_office: Callable[..., FlaskClient]
) -> None:
    """COMMIT was sent together with the writing; of a backend that is killed nobody hears how far it came."""
    client = open_office(url)
    assert buy(client, "before").status_code == 201  # its statements are prepared
    # All connections end with it, these too.
    other, admin = psycopg.connect(url), psycopg.connect(url, autocommit=True)
    with closing(other), closing(admin), ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE lastseat.records IN EXCLUSIVE MODE")
        holder = pool.submit(buy, client, "holder")
        [pid] = wait_for(lambda: backends(admin, "AND wait_event_type = 'Lock'"), "the holder to stand in its write")
        os.kill(pid, signal.SIGKILL)
        assert told(holder.result(FAR)) == (504, "outcome_unknown", False)
    server.restart()
    assert sold(url) == 1
    answer = buy(client, "holder")
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


def test_a_holder_that_pauses_too_long_is_ended_by_the_engine(
    url: str, open_office: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.stores.postgres.store._IDLE_LIMIT_S", 1.0)
    client = open_office(url)
    with asking(url) as admin:

        def pause(_delay: object) -> None:
            holder = backends(admin, "AND state = 'idle in transaction'")
            assert len(holder) == 1
            wait_for(lambda: not set(holder) & set(backends(admin, "")), "the engine to end the transaction")

        monkeypatch.setattr("service.sales.command_handler.think", pause)
        answer = buy(client)
    assert told(answer) == (503, "lock_timeout", True)
    assert "Nothing was written" in answer.json["detail"]
    assert sold(url) == 0


# -- refused for the sake of another one ------------------------------------------------------------------------------


def failing_trigger(connection: psycopg.Connection[Any], state: str, times: int) -> None:
    """So many of the next records fail with an SQLSTATE, as the engine itself would let them."""
    connection.execute("CREATE SEQUENCE failures")
    connection.execute(
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'planned' USING ERRCODE = '{state}'; END IF;
        RETURN NEW; END $$"""  # type: ignore[call-overload]
    )
    connection.execute("CREATE TRIGGER fail BEFORE INSERT ON lastseat.records FOR EACH ROW EXECUTE FUNCTION fail()")


@pytest.mark.parametrize("guard", ["none", "row", "serializable", "optimistic", "atomic"])
@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_transaction_refused_for_anothers_sake_is_run_again(
    url: str, open_office: Callable[..., FlaskClient], guard: str, state: str
) -> None:
    client = open_office(url, guard=guard)
    with asking(url) as connection:
        failing_trigger(connection, state, times=2)
    assert buy(client).status_code == 201
    assert sold(url) == 1


@pytest.mark.parametrize("guard", ["none", "row", "serializable", "optimistic", "atomic"])
def test_one_that_is_refused_again_and_again_is_told_so_definitely(
    url: str, open_office: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    monkeypatch.setattr(base, "MOST_ATTEMPTS", 3)
    client = open_office(url, guard=guard)
    with asking(url) as connection:
        failing_trigger(connection, "40001", times=1_000)
    assert told(buy(client)) == (503, "contention", True)
    assert sold(url) == 0


@pytest.mark.parametrize("cart", [False, True])
def test_records_of_a_try_that_was_rolled_back_are_not_counted(
    url: str, open_office: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cart: bool
) -> None:
    """The first try writes and is refused in its commit; before the second, somebody else buys the last ticket."""
    client = open_office(url, first_event=("show", 1), guard="row")
    other = open_office(url, data=tmp_path / "other")
    with asking(url) as connection:
        failing_trigger(connection, "40001", times=1)
        connection.execute("DROP TRIGGER fail ON lastseat.records")
        connection.execute(
            "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON lastseat.records DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    between: list[Any] = []
    clocks = {"monotonic": time.monotonic, "perf_counter": time.perf_counter}
    pause = SimpleNamespace(**clocks, sleep=lambda _s: between.append(buy(other)))
    monkeypatch.setattr(base, "time", pause)
    answer = client.post("/carts", json={"items": [{"event": "show", "quantity": 1}]}) if cart else buy(client)
    assert [each.status_code for each in between] == [201]
    assert told(answer) == (409, "sold_out", True)
    assert 'lastseat_tickets_total{kind="sold"} 0.0' in client.get("/metrics").text
    assert 'lastseat_tickets_total{kind="sold"} 1.0' in other.get("/metrics").text


# -- refused for its own sake -----------------------------------------------------------------------------------------


def refuse_zoe(connection: psycopg.Connection[Any], state: str) -> None:
    """A rule of the tables' owner: nothing is written for this buyer."""
    connection.execute(
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.buyer = 'zoe' THEN RAISE EXCEPTION 'planned' USING ERRCODE = '{state}'; END IF;
        RETURN NEW; END $$"""  # type: ignore[call-overload]
    )
    connection.execute("CREATE TRIGGER r BEFORE INSERT ON lastseat.records FOR EACH ROW EXECUTE FUNCTION refuse()")


@pytest.mark.parametrize("guard", ["row", "table", "advisory", "serializable", "optimistic", "atomic"])
@pytest.mark.parametrize(
    ("state", "code"),
    [("", "invalid_value"), ("22001", "invalid_value"), ("54000", "invalid_value"), ("23514", "engine_refused")],
)
def test_a_purchase_that_the_engine_refuses_takes_none_of_its_batch_with_it(
    url: str, open_office: Callable[..., FlaskClient], state: str, code: str, guard: str
) -> None:
    """Eight others stand in the same batch; without an SQLSTATE it is a name that cannot even be sent."""
    client = open_office(url, guard=guard, first_event=("show", 100), lock_timeout_s=FAR)
    office = client.application.extensions["office"]
    bad = "zoe" if state else "Zo\0e"

    def bought(buyer: str) -> str:
        try:
            office.buy("show", key=buyer, request="", quantity=1, buyer=buyer)
        except Problem as problem:
            assert problem.kind.definite
            return problem.code
        return "ok"

    others = [f"buyer-{number}" for number in range(8)]
    with asking(url) as admin, psycopg.connect(url) as blocker, ThreadPoolExecutor(10) as pool:
        if state:
            refuse_zoe(admin, state)
        blocker.execute("LOCK TABLE lastseat.events IN EXCLUSIVE MODE")
        first = pool.submit(bought, "first")
        wait_for(lambda: backends(admin, "AND wait_event_type = 'Lock'"), "the first one to wait for the engine")
        rest = [pool.submit(bought, buyer) for buyer in (*others[:4], bad, *others[4:])]
        line = office._lines["show"]
        wait_for(lambda: len(line._waiting) + line._kept == 10, "all others to stand in line")
        blocker.rollback()
        assert first.result(FAR) == "ok"
        assert [each.result(FAR) for each in rest] == ["ok"] * 4 + [code] + ["ok"] * 4
    _, records = office.audit("show")
    assert sorted(record.buyer for record in records) == sorted(["first", *others])
    assert client.get("/events/show").json["sold"] == 9


def test_a_real_deadlock_is_run_again(url: str, open_office: Callable[..., FlaskClient]) -> None:
    client = open_office(url)
    with psycopg.connect(url) as other, asking(url) as admin, ThreadPoolExecutor(1) as pool:
        # The engine lets the one fail that looks first, after its deadlock_timeout: the office here.
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("LOCK TABLE lastseat.records IN EXCLUSIVE MODE")
        buying = pool.submit(buy, client)
        wait_for(lambda: backends(admin, "AND wait_event_type = 'Lock'"), "the office to wait for the records")
        other.execute("SELECT 1 FROM lastseat.events FOR UPDATE")
        other.rollback()
        assert buying.result(FAR).status_code == 201
    assert sold(url) == 1


def test_two_serializable_sales_of_one_version_make_one_of_them_run_again(
    url: str, open_office: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control is in the same schedule: under guard none both write what they read."""
    outcomes = {}
    for guard, name in (("none", "first"), ("serializable", "second")):
        both_have_read = threading.Barrier(2, timeout=FAR)
        passed: list[int] = []

        def think(_delay: object, barrier: threading.Barrier = both_have_read, passed: list[int] = passed) -> None:
            passed.append(1)
            if len(passed) <= 2:
                barrier.wait()

        monkeypatch.setattr("service.sales.command_handler.think", think)
        client = open_office(url, guard=guard, first_event=(name, 10), data=Path(url.rpartition("=")[2]) / name / guard)
        other = open_office(url, guard=guard, first_event=None, data=Path(url.rpartition("=")[2]) / name / "other")
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(
                    lambda each, name=name: each.post(f"/events/{name}/orders", data=b'{"quantity":1}', headers=JSON),  # type: ignore[misc]
                    [client, other],
                )
            )
        outcomes[guard] = (sorted(answer.json["tickets"][0] for answer in answers), len(passed))
    assert outcomes["none"] == ([1, 1], 2)
    assert outcomes["serializable"] == ([1, 2], 3)


# -- a commit that is lost on the way ---------------------------------------------------------------------------------


def commits_wait(url: str, admin: psycopg.Connection[Any]) -> bool:
    """Whether a commit waits for a standby now. The setting alone does not say so: another process makes it true."""
    with asking(url) as probe, ThreadPoolExecutor(1) as pool:
        pid = probe.info.backend_pid
        writing = pool.submit(probe.execute, "SELECT pg_logical_emit_message(true, 'probe', '')")
        in_wait = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
        wait_for(lambda: writing.done() or admin.execute(in_wait, (pid,)).fetchall(), "a commit to wait, or to be done")
        if writing.done():
            return False
        admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
        writing.exception(FAR)
        return True


@contextlib.contextmanager
def commits_that_wait_for_a_standby(url: str) -> Iterator[None]:
    """What is committed is on the disk; the answer waits for a standby that is not there."""
    with asking(url) as admin:
        admin.execute("SET synchronous_commit = local")
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        wait_for(lambda: commits_wait(url, admin), "commits to wait")
        try:
            yield
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
            wait_for(lambda: admin.execute("SHOW synchronous_standby_names").fetchall() == [("",)], "the setting back")


@pytest.fixture(params=["directly", "through a pooler"])
def way(request: pytest.FixtureRequest, server: PostgresServer, url: str, tmp_path: Path) -> Iterator[str]:
    """The address of the same database as ``url``, as an office reaches it."""
    if request.param == "directly":
        yield url
        return
    with PgBouncer(tmp_path / "pgbouncer", server, ["pool_mode = transaction"]) as pooler:
        yield pooler.through(url)


@pytest.mark.parametrize("guard", ["none", "row", "optimistic", "atomic", "serializable"])
def test_a_commit_whose_answer_is_lost_is_indefinite_and_was_written(
    way: str, url: str, open_office: Callable[..., FlaskClient], guard: str
) -> None:
    client = open_office(way, guard=guard)
    with asking(url) as admin, ThreadPoolExecutor(1) as pool, commits_that_wait_for_a_standby(url):
        buying = pool.submit(buy, client, "lost")
        [pid] = wait_for(lambda: backends(admin, "AND wait_event = 'SyncRep'"), "the commit to wait")
        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        answer = buying.result(FAR)
    assert told(answer) == (504, "outcome_unknown", False)
    assert "Idempotency-Key" in answer.json["detail"]
    assert buy(client, "lost").headers["Idempotency-Replayed"] == "true"


def test_a_commit_whose_backend_is_killed_before_it_commits_is_indefinite_too(
    way: str, url: str, open_office: Callable[..., FlaskClient]
) -> None:
    """From outside it looks the same; here nothing was written, and the same key buys."""
    client = open_office(way)
    with asking(url) as admin, ThreadPoolExecutor(1) as pool:
        admin.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$"
        )
        admin.execute(
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON lastseat.records DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION wait()"
        )
        buying = pool.submit(buy, client, "lost")
        [pid] = wait_for(lambda: backends(admin, "AND wait_event = 'PgSleep'"), "the commit to be under way")
        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        assert told(buying.result(FAR)) == (504, "outcome_unknown", False)
        admin.execute("DROP FUNCTION wait CASCADE")
    assert sold(url) == 0
    answer = buy(client, "lost")
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


def test_a_commit_that_no_standby_confirms_is_never_told_as_a_sale(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    """The engine's own time limit would end the waiting and let the commit pass for confirmed."""
    client = open_office(url, lock_timeout_s=1.0)
    with commits_that_wait_for_a_standby(url):
        assert told(buy(client)) == (504, "outcome_unknown", False)


# -- an engine that shows less than before ----------------------------------------------------------------------------


def test_an_engine_that_comes_back_empty_is_refused_by_who_has_seen_more(
    url: str, open_office: Callable[..., FlaskClient]
) -> None:
    client = open_office(url)
    assert buy(client).status_code == 201
    with asking(url) as admin:
        admin.execute("DROP SCHEMA lastseat CASCADE")
    assert told(buy(client)) == (500, "engine_went_back", True)
    set_up(url)
    for _ in range(2):
        answer = buy(client)
        assert told(answer) == (500, "engine_went_back", True)
        assert "Nothing was written" in answer.json["detail"]
    assert sold(url) == 0


@pytest.mark.parametrize("guard", ["none", "row", "optimistic", "atomic"])
def test_an_older_copy_is_refused_by_who_has_seen_more(
    url: str, open_office: Callable[..., FlaskClient], guard: str
) -> None:
    client = open_office(url, guard=guard)
    with asking(url) as admin:
        assert buy(client).status_code == 201
        admin.execute("CREATE TABLE kept_events AS SELECT * FROM lastseat.events")
        assert buy(client).status_code == 201
        # As a standby has it that was one sale behind.
        admin.execute("DELETE FROM lastseat.records WHERE version = 2")
        admin.execute(
            "UPDATE lastseat.events e SET version = k.version, sold = k.sold, next_ticket = k.next_ticket, "
            "appended = k.appended FROM kept_events k WHERE k.id = e.id"
        )
    for answer in (buy(client), client.get("/events/show")):
        assert told(answer) == (500, "engine_went_back", True)
    assert sold(url) == 1


def test_an_event_that_was_deleted_and_made_again_is_no_older_copy(
    url: str, open_office: Callable[..., FlaskClient], admin: dict[str, str]
) -> None:
    client, other = open_office(url), open_office(url)
    for each in (client, other):
        assert buy(each).status_code == 201
    assert client.delete("/events/show", headers=admin).status_code == 204
    made = client.post("/events", data=b'{"event":"show","capacity":3,"lab":true}', headers=JSON | admin)
    assert made.status_code == 201
    for each in (other, client):
        assert buy(each).json["tickets"] == [1 if each is other else 2]


def test_there_is_a_migration_for_every_version() -> None:
    assert len(MIGRATIONS) == VERSION


def test_the_settings_do_not_show_the_password() -> None:
    settings = Settings(store="postgres", store_url="postgresql://u:hush-hush@h/x")
    assert "hush" not in repr(settings)
    assert "hush" not in repr(vars(Postgres(settings))["_connections"])
