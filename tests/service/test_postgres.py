"""The store ``postgres`` by itself: its schema, its set-up, its plans, and rights of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from click.testing import CliRunner
from servers import server, settings_of

from loadtests.lab.engines import set_up
from service.inventory import Cancel, Command, Event, Record, Sell, decide_all, records_of
from service.settings import Settings
from service.store_command import store as store_command
from service.stores import postgres_records, postgres_schema
from service.stores.postgres import Postgres
from service.stores.postgres_schema import VERSION
from service.stores.postgres_statements import PAGE_OF_RECORDS, VIEW

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
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
    view = store.view("show", commands)
    records = records_of(decide_all(view, commands, NOW))
    store.append(view, records)
    return records


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
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, *two))
    monkeypatch.setattr(postgres_schema, "VERSION", VERSION + 2)
    status, said = init(settings.store_url)
    assert (status, "division by zero" in said) == (1, True)
    assert ask(settings, "SELECT version, to_regclass('lastseat.half') FROM lastseat.about") == [(VERSION, None)]
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS[:-1], "SELECT 1"))
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
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment, check=False)
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
            assert len(write(lesser, *sells(2))) == 2
            lesser.delete("show")
        finally:
            lesser.close()
            owner.execute("DROP OWNED BY office")
            owner.execute("DROP ROLE office")


# -- what is in the schema --------------------------------------------------------------------------------------------


def test_nothing_in_the_schema_saves_the_day_when_the_guard_is_off(settings: Settings) -> None:
    unique = ask(settings, "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'lastseat'")
    assert {name for name, made in unique if "UNIQUE" in made} == {"events_pkey", "events_name_key"}
    kinds = ask(
        settings, "SELECT DISTINCT contype::text FROM pg_constraint WHERE connamespace = 'lastseat'::regnamespace"
    )
    assert {kind for (kind,) in kinds} <= {"p", "u", "n"}
    assert ask(settings, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []


def test_a_view_reads_by_index_however_the_statistics_are(store: Postgres, settings: Settings) -> None:
    """A plan is made once a connection, maybe while the table was empty: then a sequential scan looks cheapest."""
    store.create(SHOW)
    asked = (["k1", "k2"], ["o-k3"], ["buyer 1"], "show")
    for statistics in ("none", "few records, not analysed", "few records, analysed"):
        with store._transactions.transaction() as connection:
            plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {VIEW}", asked).fetchall())
        assert "Seq Scan on records" not in plan, statistics
        for name, column in (("key", "key"), ("order", "order_id"), ("buyer", "buyer")):
            assert re.search(rf"Scan (using|on) records_by_{name}\b.*\n +Index Cond: \(\({column} = ANY", plan), plan
        if statistics == "none":
            write(store, *sells(900))
        elif "not analysed" in statistics:
            tell(settings, "ANALYZE lastseat.records")


def test_an_audit_reads_by_index_too(store: Postgres) -> None:
    store.create(SHOW)
    write(store, *sells(900))
    with store._transactions.transaction() as connection:
        plan = str(connection.execute(f"EXPLAIN {PAGE_OF_RECORDS}", (1, 0, 1_000)).fetchall())
    assert "records_of_event" in plan
    assert "Sort" not in plan


def test_a_view_has_what_the_commands_name_and_no_more(store: Postgres) -> None:
    store.create(SHOW)
    write(store, *sells(50))
    view = store.view("show", [Sell("k1", "r", "o", 1, "buyer 3"), Cancel("x", "r", "o-k5")], order="o-k7")
    assert set(view.keys) == {"k1"}
    assert set(view.orders) == {"o-k5", "o-k7"}
    assert view.bought == {"buyer 3": 7}


def test_an_audit_is_read_some_at_a_time_and_ends_where_it_began_to_be_read(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_records, "PAGE", 7)
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
from service.stores.postgres import Postgres
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
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(ran.stdout) > 5


def test_psycopg_imported_before_the_patch_is_refused(settings: Settings, tmp_path: Path) -> None:
    """It would wait in C: the hub stands still while PostgreSQL thinks."""
    command = [sys.executable, "-c", "import psycopg\n" + GREENLETS, settings.store_url, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "psycopg was imported before gevent's monkey patch" in ran.stderr
