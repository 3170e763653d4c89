"""The store ``postgres`` by itself: its schema, its set-up, its plans, and rights of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from click.testing import CliRunner
from servers import server, set_up, settings_of

from service.commands.store import store as store_command
from service.errors import Problem, RefusedToStart
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    Sweep,
    decide_all,
    records_of,
)
from service.settings import Settings
from service.stores.postgres import schema
from service.stores.postgres import store as postgres_store
from service.stores.postgres.schema import MIGRATIONS, VERSION
from service.stores.postgres.statements import NEXT_EXPIRY, PAGE, VIEW
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
FAR = time.monotonic() + 3_600
SHOW = Event("show", "Show", 10_000, lab=True, max_per_buyer=900)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of("postgres", tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Postgres]:
    opened = Postgres(settings)
    yield opened
    opened.close()


def write(store: Postgres, *commands: Command) -> list[Record]:
    return records_of(decided(store, NOW, *commands))


def decided(store: Postgres, now: datetime, *commands: Command) -> list[Outcome]:
    view = store.view("show", commands, now)
    outcomes = decide_all(view, commands, now)
    if view.fresh:
        store.append([view])
    return outcomes


def sells(count: int, name: str = "k") -> list[Command]:
    return [Sell(f"{name}{n}", "r", f"o-{name}{n}", 1, f"buyer {n % 7}") for n in range(count)]


def ask(settings: Settings, query: str, *parameters: Any) -> list[Any]:
    with psycopg.connect(settings.store_url, autocommit=True) as connection:
        return connection.execute(query, parameters or None).fetchall()  # type: ignore[call-overload, no-any-return]


def tell(settings: Settings, statement: LiteralString) -> None:
    with psycopg.connect(settings.store_url, autocommit=True) as connection:
        connection.execute(statement)


# -- the set-up -------------------------------------------------------------------------------------------------------


def init(address: str) -> tuple[int, str]:
    result = CliRunner().invoke(store_command, ["init", address])
    return result.exit_code, result.output


def test_store_init_makes_the_schema_once_and_keeps_what_is_sold(store: Postgres, settings: Settings) -> None:
    fresh = server("postgres").fresh_database()
    assert init(fresh) == (0, f"postgres: the schema lastseat was made, version {VERSION}\n")
    assert init(fresh) == (0, f"postgres: the schema lastseat has version {VERSION} already; nothing was changed\n")
    store.create(SHOW)
    written = write(store, *sells(3))
    init(settings.store_url)
    assert list(store.audit("show")[1]) == written


def test_many_that_set_up_at_once_make_one_schema() -> None:
    fresh = server("postgres").fresh_database()
    with ThreadPoolExecutor(6) as pool:
        said = sorted(pool.map(set_up, [fresh] * 6))
    assert [each for each in said if "was made" in each] == [f"the schema lastseat was made, version {VERSION}"]
    assert len([each for each in said if "nothing was changed" in each]) == 5


def test_a_migration_that_fails_leaves_the_version_there_was(
    store: Postgres, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ("CREATE TABLE lastseat.half (id int)", "SELECT 1 / 0")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *two))
    monkeypatch.setattr(schema, "VERSION", VERSION + 2)
    status, said = init(settings.store_url)
    assert (status, "division by zero" in said) == (1, True)
    assert ask(settings, "SELECT version, to_regclass('lastseat.half') FROM lastseat.about") == [(VERSION, None)]
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:-1], "SELECT 1"))
    assert init(settings.store_url)[1] == (
        f"postgres: the schema lastseat was brought from version {VERSION} to {VERSION + 2}\n"
    )


def test_store_init_as_typed_says_what_is_wrong_without_the_password() -> None:
    command = [str(Path(sys.executable).with_name("lastseat")), "store", "init"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEAT_")}
    for address, status, words in (
        ("", 64, "name the engine"),
        ("json", 64, "name the engine"),
        ("mysql://u:hush@h/x", 70, "is no scheme of a store"),
        ("postgresql://u:hush@/x?host=/nowhere", 70, "cannot be reached"),
    ):
        arguments = [*command, address] if address else command
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=150, env=environment, check=False)
        assert (ran.returncode, words in ran.stderr) == (status, True), ran
        assert "hush" not in ran.stdout + ran.stderr


def test_a_user_with_the_documented_rights_and_no_more_can_sell_and_switch(
    store: Postgres, settings: Settings, tmp_path: Path
) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()
    with closing(psycopg.connect(settings.store_url, autocommit=True)) as owner:
        owner.execute("DROP ROLE IF EXISTS office")
        owner.execute(f"CREATE ROLE office LOGIN PASSWORD '{server('postgres').password}'")
        for line in documented.splitlines():
            if line.startswith("    GRANT"):
                owner.execute(line)  # type: ignore[call-overload]
        lesser = Postgres(
            Settings(data=tmp_path, store="postgres", store_url=settings.store_url.replace("lastseat:", "office:", 1))
        )
        try:
            lesser.check()
            assert lesser.begin_epoch("row", 5).epoch == 1
            lesser.create(SHOW)
            held = [
                Hold("h", "r", "h1", 1, 60, "ann"),
                Hold("i", "r", "h2", 1, 60, "bob"),
                Confirm("j", "r", "h1", "o"),
            ]
            assert len(write(lesser, *sells(2), *held)) == 5
            assert isinstance(lesser.commit_atomically("show", [Release("l", "r", "h2")], NOW, FAR)[0][0], Record)
            lesser.delete("show")
        finally:
            lesser.close()
            owner.execute("DROP OWNED BY office")
            owner.execute("DROP ROLE office")


@pytest.fixture
def before_holds(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database as the first version left it: two sales, one cancelled, a role with rights."""
    address = server("postgres").fresh_database()
    with monkeypatch.context() as first:
        first.setattr(schema, "MIGRATIONS", MIGRATIONS[:1])
        first.setattr(schema, "VERSION", 1)
        set_up(address)
    with closing(psycopg.connect(address, autocommit=True)) as owner:
        owner.execute(OF_THE_FIRST_VERSION)
    return str(address)


OF_THE_FIRST_VERSION: LiteralString = """
    CREATE FUNCTION lastseat.decide_all(row_id bigint, instant timestamptz, commands jsonb) RETURNS jsonb
        LANGUAGE sql AS 'SELECT NULL::jsonb';
    INSERT INTO lastseat.events (name, about, capacity, max_per_order, version, sold, next_ticket, records)
        VALUES ('show', '{"event":"show","name":"Show","capacity":5,"lab":true}', 5, 10, 3, 2, 4, 3);
    INSERT INTO lastseat.records
        (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer)
    VALUES (1, 1, 'sold', 'a', 'o1', 2, 1, 3, 'r', 'ann'), (1, 2, 'sold', 'b', 'o2', 1, 3, 2, 'r', NULL),
        (1, 3, 'cancelled', 'c', 'o2', 1, 3, 3, 'r', NULL);
    UPDATE lastseat.events SET sold = 2, version = 3;
"""


def opened(address: str, data: Path) -> Postgres:
    return Postgres(Settings(data=data, store="postgres", store_url=address))


def test_a_schema_from_before_holds_is_refused_with_the_command_that_upgrades_it(
    before_holds: str, tmp_path: Path
) -> None:
    with closing(opened(before_holds, tmp_path)) as store:
        with pytest.raises(RefusedToStart) as refused:
            store.check()
        assert f"in version 1, and this service needs {VERSION}" in str(refused.value)
        assert "`lastseat store init`" in str(refused.value)


def test_an_upgrade_keeps_what_is_sold_and_then_there_are_holds(before_holds: str, tmp_path: Path) -> None:
    assert init(before_holds)[1] == f"postgres: the schema lastseat was brought from version 1 to {VERSION}\n"
    with closing(opened(before_holds, tmp_path)) as store:
        store.check()
        view = store.view("show", [Sell("a", "r", "o", 1)], order="o2")
        assert (view.version, view.sold, view.held, view.next_ticket, view.remaining) == (3, 2, 0, 4, 3)
        assert view.keys["a"] == Record(1, "sold", "a", "o1", 2, (1, 2), 3, "r", "ann")
        assert view.orders["o2"].status == "cancelled"
        assert len(list(store.audit("show")[1])) == 3
        asked: list[Command] = [Hold("d", "r", "h1", 3, 60), Sell("e", "r", "o3", 1)]
        assert [type(each).__name__ for each in decided(store, NOW, *asked)] == ["Record", "Refusal"]
        [confirmed], _ = store.commit_atomically("show", [Confirm("f", "r", "h1", "o4")], NOW, FAR)
        assert isinstance(confirmed, Record)
        assert confirmed.tickets == (4, 5, 6)


def test_events_of_the_version_before_limits_have_none_and_new_ones_keep_theirs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = server("postgres").fresh_database()
    with monkeypatch.context() as second:
        second.setattr(schema, "MIGRATIONS", MIGRATIONS[:2])
        second.setattr(schema, "VERSION", 2)
        set_up(address)
    with closing(psycopg.connect(address, autocommit=True)) as owner:
        owner.execute(
            "INSERT INTO lastseat.events (name, about, capacity, max_per_order) "
            """VALUES ('old', '{"event":"old","name":"Old","capacity":9}', 9, 10)"""
        )
    assert init(address)[1] == f"postgres: the schema lastseat was brought from version 2 to {VERSION}\n"
    with closing(opened(address, tmp_path)) as store:
        store.create(Event("new", "New", 9, max_held=3, max_hold_s=60))
        for name, wanted in (("old", ["held", "held"]), ("new", ["too_many_held", "hold_too_long"])):
            asked = [Hold(f"{name}-a", "r", f"{name}-h", 4, 1), Hold(f"{name}-b", "r", f"{name}-i", 1, 3600)]
            told, _ = store.commit_atomically(name, asked, NOW, FAR)
            assert [each.kind if isinstance(each, Record) else each.code for each in told] == wanted  # type: ignore[union-attr]


def test_a_service_of_the_first_version_that_still_runs_can_sell_nothing_after_the_upgrade(
    before_holds: str, tmp_path: Path
) -> None:
    """It knows of no tickets that are held, and would sell them. Its every statement names ``events.records``."""
    asked = "SELECT version, sold, next_ticket, records FROM lastseat.events WHERE name = %s"
    with closing(opened(before_holds, tmp_path)) as store:
        assert store._transactions.ask(asked, ("show",)) == [(3, 2, 4, 3)]
        init(before_holds)
        with pytest.raises(Problem) as problem:
            store._transactions.ask(asked, ("show",))
    assert problem.value.code == "engine_went_back"
    assert "another version" in str(problem.value.detail)


def test_who_had_rights_on_the_records_has_them_on_the_holds_after_an_upgrade(
    before_holds: str, tmp_path: Path
) -> None:
    name = "the old office"  # has to be quoted
    with closing(psycopg.connect(before_holds, autocommit=True)) as owner:
        owner.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{server('postgres').password}'")  # type: ignore[call-overload]
        try:
            owner.execute(
                f'GRANT USAGE ON SCHEMA lastseat TO "{name}";'  # type: ignore[call-overload]
                f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lastseat TO "{name}"'
            )
            init(before_holds)
            lesser = before_holds.replace("lastseat:", f"{name.replace(' ', '%20')}:", 1)
            with closing(opened(lesser, tmp_path)) as store:
                assert len(write(store, Hold("d", "r", "h1", 3, 60), Release("e", "r", "h1"))) == 2
        finally:
            owner.execute(f'DROP OWNED BY "{name}"')  # type: ignore[call-overload]
            owner.execute(f'DROP ROLE "{name}"')  # type: ignore[call-overload]


# -- what is in the schema --------------------------------------------------------------------------------------------


def test_nothing_in_the_schema_saves_the_day_when_the_guard_is_off(settings: Settings) -> None:
    unique = ask(settings, "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'lastseat'")
    assert {name for name, made in unique if "UNIQUE" in made} == {"events_pkey", "events_name_key", "halls_pkey"}
    kinds = ask(
        settings, "SELECT DISTINCT contype::text FROM pg_constraint WHERE connamespace = 'lastseat'::regnamespace"
    )
    assert {kind for (kind,) in kinds} <= {"p", "u", "n"}
    assert ask(settings, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []


def holds(count: int) -> list[Command]:
    return [Hold(f"h{n}", "r", f"hold-{n}", 1, 1 + n, f"buyer {n % 7}") for n in range(count)]


def test_a_view_reads_by_index_however_the_statistics_are(store: Postgres, settings: Settings) -> None:
    """A plan is made once a connection, maybe while the table was empty: then a sequential scan looks cheapest."""
    store.create(SHOW)
    asked = ["show", ["k1", "k2"], ["o-k3"], ["hold-3"], ["buyer 1"], NOW]
    for statistics in ("none", "few records, not analysed", "few records, analysed"):
        with store._transactions.transaction() as connection:
            lines = connection.execute(f"EXPLAIN {connection.call(VIEW, asked)}").fetchall()
        plan = "\n".join(line for (line,) in lines)
        assert "Seq Scan on records" not in plan, statistics
        assert "Seq Scan on open_holds" not in plan, statistics
        for name, column in (("key", "key"), ("order", "order_id"), ("hold", "hold_id"), ("buyer", "buyer")):
            assert re.search(rf"Scan (using|on) records_by_{name}\b.*\n +Index Cond: \(\({column} = ANY", plan), plan
        due = r"Scan (using|on) open_holds_by_end\b.*\n +Index Cond: \(\(\(event \+ 0\) = e.id\) AND \(expires_at <="
        assert re.search(due, plan), plan
        if statistics == "none":
            write(store, *sells(900), *holds(300))
        elif "not analysed" in statistics:
            tell(settings, "ANALYZE lastseat.records, lastseat.open_holds")


def test_the_next_hold_to_end_is_found_by_index(store: Postgres) -> None:
    store.create(SHOW)
    assert store.next_expiry("show") is None
    write(store, *reversed(holds(300)))
    with store._transactions.transaction() as connection:
        plan = str(connection.execute(f"EXPLAIN {NEXT_EXPIRY}", ("show",)).fetchall())
    assert "open_holds_by_end" in plan
    assert "Sort" not in plan
    assert store.next_expiry("show") == NOW + timedelta(seconds=1)
    with pytest.raises(Problem, match="unknown_event"):
        store.next_expiry("nowhere")


def test_a_hold_that_is_made_and_ended_by_one_write_is_not_open_after_it(store: Postgres, settings: Settings) -> None:
    store.create(SHOW)
    write(store, *holds(4), Confirm("a", "r", "hold-0", "o1"), Release("b", "r", "hold-1"))
    assert ask(settings, "SELECT hold_id FROM lastseat.open_holds ORDER BY version") == [("hold-2",), ("hold-3",)]
    write(store, Confirm("c", "r", "hold-2", "o2"))
    assert ask(settings, "SELECT hold_id FROM lastseat.open_holds") == [("hold-3",)]
    assert decided(store, NOW + timedelta(seconds=60), Sweep())[0].version == 8  # type: ignore[union-attr]
    assert ask(settings, "SELECT hold_id FROM lastseat.open_holds") == []
    assert store.view("show").held == 0


def test_what_is_due_is_of_one_event_and_exact_to_the_microsecond(store: Postgres, settings: Settings) -> None:
    with closing(psycopg.connect(settings.store_url, autocommit=True)) as owner:
        for setting in ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German'"):
            owner.execute(f"ALTER DATABASE {owner.info.dbname} SET {setting}")  # type: ignore[call-overload]
    for name in ("other", "show"):
        store.create(Event(name, "Show", 10_000, lab=True))
    write(store, Hold("a", "r", "late", 1, 1.000001), Hold("b", "r", "h1", 2, 1, "ann"), Hold("c", "r", "h2", 1, 1))
    ends = NOW + timedelta(seconds=1)
    assert [held.hold for held in store.view("show", [], ends).due] == ["h1", "h2"]
    assert list(store.view("show", [], ends - timedelta(microseconds=1)).due) == []
    assert list(store.view("other", [], ends + timedelta(days=9)).due) == []
    assert store.view("show", [Sweep()]).due == []
    [held, _] = store.view("show", [], ends).due
    assert (held.version, held.quantity, held.tickets, held.expires_at, held.buyer) == (2, 2, (2, 3), ends, "ann")
    assert [record.expires_at for record in store.audit("show")[1]][1:] == [ends, ends]
    assert store.next_expiry("show") == ends
    [confirmed], _ = store.commit_atomically("show", [Confirm("d", "r", "h1", "o1")], ends - timedelta(0, 0, 1), FAR)
    [late], _ = store.commit_atomically("show", [Confirm("e", "r", "h2", "o2")], ends, FAR)
    assert isinstance(confirmed, Record)
    assert isinstance(late, Record)
    assert (confirmed.kind, confirmed.tickets, late.kind, late.tickets) == ("confirmed", (2, 3), "sold", (5,))


def test_an_audit_reads_by_index_too(store: Postgres) -> None:
    store.create(SHOW)
    write(store, *sells(900))
    with store._transactions.transaction() as connection:
        plan = str(connection.execute(f"EXPLAIN {PAGE}", (1, 0, 1_000)).fetchall())
    assert "records_of_event" in plan
    assert "Sort" not in plan


def test_a_view_has_what_the_commands_name_and_no_more(store: Postgres) -> None:
    store.create(SHOW)
    write(store, *sells(50))
    write(store, *holds(9))
    asked: list[Command] = [
        Sell("k1", "r", "o", 1, "buyer 3"), Cancel("x", "r", "o-k5"), Confirm("y", "r", "hold-4", "o"), Sweep(),
    ]  # fmt: skip
    view = store.view("show", asked, NOW + timedelta(seconds=2), order="o-k7")
    assert set(view.keys) == {"k1"}
    assert set(view.orders) == {"o-k5", "o-k7"}
    assert set(view.holds) == {"hold-4"}
    assert [held.hold for held in view.due] == ["hold-0", "hold-1"]
    assert view.bought == {"buyer 3": 8, "buyer 4": 8}


def test_an_audit_is_read_some_at_a_time_and_ends_where_it_began_to_be_read(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "AT_A_TIME", 7)
    store.create(SHOW)
    written = write(store, *sells(20))
    records = store.audit("show")[1]
    assert len(records) == 20
    reading = iter(records)
    first = next(reading)
    write(store, *sells(5, "late"))
    assert [first, *reading] == written
    assert store._transactions.mine is None


def test_two_batches_of_one_event_stand_in_the_audit_one_after_the_other(store: Postgres, settings: Settings) -> None:
    store.create(SHOW)
    other = Postgres(settings)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda pair: write(pair[0], *sells(40, pair[1])), [(store, "a"), (other, "b")]))
    finally:
        other.close()
    told = "".join(record.key[0] for record in store.audit("show")[1])
    assert told in {"a" * 40 + "b" * 40, "b" * 40 + "a" * 40}


GREENLETS = """
import gevent.monkey; gevent.monkey.patch_all()
import sys, time, gevent
from pathlib import Path
from service.settings import Settings
from service.stores.postgres.store import Postgres
try:
    store = Postgres(Settings(store="postgres", store_url=sys.argv[1], data=Path(sys.argv[2])))
except SystemExit as refusal:
    sys.exit(str(refusal))
ticks = []
def tick():
    while True:
        gevent.sleep(0.001); ticks.append(1)
ticking = gevent.spawn(tick)
store._transactions.ask("SELECT pg_sleep(0.3)")
print(len(ticks))
"""


def test_waiting_for_postgres_lets_the_other_greenlets_run(settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-c", GREENLETS, settings.store_url, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)
    assert int(ran.stdout) > 5


def test_psycopg_imported_before_the_patch_is_refused(settings: Settings, tmp_path: Path) -> None:
    """It would wait in C: the hub stands still while PostgreSQL thinks."""
    command = [sys.executable, "-c", "import psycopg\n" + GREENLETS, settings.store_url, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert "psycopg was imported before gevent's monkey patch" in ran.stderr
