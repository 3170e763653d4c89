"""How often a purchase goes to PostgreSQL and back, and that what it says there means the same whatever is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers import settings_of

from service.guards import Transaction, guard_class
from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import Command, Confirm, Event, Hold, Record, Sell, View, Wish, decide_all
from service.runtime.epoch import Switched, taking_part
from service.settings import Settings
from service.stores.postgres.connections import Connections, Patient
from service.stores.postgres.scripts import Prepared, literal
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers
SHOW = Event("show", "Show", 10_000, lab=True)
FAR_S = 90.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of("postgres", tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Postgres]:
    with closing(Postgres(settings)) as opened:
        opened.create(SHOW)
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One for each time that somebody waits for the engine, which is one round trip."""
    waits: list[str] = []
    really = Patient.wait

    def wait(connection: Patient, *arguments: Any, **more: Any) -> Any:
        waits.append("waited")
        return really(connection, *arguments, **more)

    monkeypatch.setattr(Patient, "wait", wait)
    return waits


@pytest.fixture
def buy(store: Postgres, settings: Settings) -> Callable[[str, list[Command]], list[Record]]:
    """Have commands of an event decided together under a guard."""

    def decide(views: Any, commands: Any, now: datetime) -> Any:
        return decide_all(views[0], commands[0], now), views

    def run(guard: str, commands: list[Command], event: str = "show") -> list[Record]:
        transaction: Transaction[Any] = Transaction(
            store, (event,), lambda: (commands,), decide, time.monotonic() + FAR_S
        )
        guard_class(guard)(settings, store).run(transaction)
        return list(transaction.records)

    return run


def sales(count: int, name: str) -> list[Command]:
    return [Sell(f"{name}-{number}", "r", f"o-{name}-{number}", 1, "ann") for number in range(count)]


ROUND_TRIPS = {"none": 2, "row": 3, "table": 3, "advisory": 3, "serializable": 2, "optimistic": 3, "atomic": 2}


@pytest.mark.parametrize("guard", ROUND_TRIPS)
def test_a_batch_of_sixteen_needs_as_many_round_trips_as_one_purchase(
    buy: Callable[..., list[Record]], sent: list[str], guard: str
) -> None:
    buy(guard, sales(1, "first"))  # prepares the statements in the connection
    for count in (1, 16):
        sent.clear()
        assert len(buy(guard, sales(count, f"batch of {count}"))) == count
        assert len(sent) == ROUND_TRIPS[guard], count


@pytest.fixture
def seated(store: Postgres) -> None:
    """An event with a hall."""
    hall = Hall(Plan((Section("s", tuple(Row(name, 30) for name in "ABCD")),)))
    store.halls.keep(hall)
    store.create(Event("seated", "Show", hall.size, lab=True, hall=hall.name, born="b"))
    return hall


def of_seats(count: int, name: str, row: str) -> list[Command]:
    """As many commands: half of them name a seat, the others want a best one held."""
    return [
        Sell(f"{name}-{number}", "r", f"o-{name}-{number}", 1, wish=Wish((f"s-{row}-{number + 1}",)))
        if number % 2 == 0
        else Hold(f"{name}-{number}", "r", f"h-{name}-{number}", 1, 60)
        for number in range(count)
    ]


@pytest.mark.parametrize("guard", ROUND_TRIPS)
@pytest.mark.usefixtures("seated")
def test_seats_need_no_more_round_trips_than_numbers(
    buy: Callable[..., list[Record]], sent: list[str], guard: str
) -> None:
    buy(guard, of_seats(1, "first", "D"), "seated")  # tells the process of the hall
    for count, row in ((1, "C"), (16, "B")):
        sent.clear()
        assert len(buy(guard, of_seats(count, f"batch of {count}", row), "seated")) == count
        assert len(sent) == ROUND_TRIPS[guard], count


@pytest.mark.usefixtures("seated")
def test_the_map_is_one_statement_so_that_its_counters_and_its_states_are_of_one_version(
    store: Postgres, scripts: list[str]
) -> None:
    store.seats("seated")
    scripts.clear()
    assert len(store.seats("seated").seats) == 120
    assert len(scripts) == 1


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the engine, also when a statement is prepared."""
    told: list[str] = []
    run, execute = Patient.run, Patient.execute

    def running(connection: Patient, statements: Any) -> Any:
        told.extend(statements)
        return run(connection, statements)

    def executing(connection: Patient, query: Any, *more: Any, **options: Any) -> Any:
        told.append(str(query))
        return execute(connection, query, *more, **options)

    monkeypatch.setattr(Patient, "run", running)
    monkeypatch.setattr(Patient, "execute", executing)
    return told


@pytest.mark.parametrize("guard", ["row", "atomic"])
@pytest.mark.usefixtures("seated")
def test_of_an_event_without_a_hall_nothing_is_sent_about_seats(
    buy: Callable[..., list[Record]], scripts: list[str], guard: str
) -> None:
    """The control is in it: of the event with a hall something is."""
    asked: list[Command] = [*sales(2, "a"), Hold("h", "r", "h1", 1, 60), Confirm("c", "r", "h1", "o1")]
    about = {}
    for event, commands in (("show", asked), ("seated", of_seats(2, "a", "A"))):
        scripts.clear()
        assert len(buy(guard, commands, event)) == len(commands)
        about[event] = [each for each in scripts if "seats" in each or "s-A-" in each or '"named"' in each]
    assert about["show"] == []
    assert about["seated"]


def test_a_replay_writes_nothing_and_needs_no_more_of_them(buy: Callable[..., list[Record]], sent: list[str]) -> None:
    buy("row", sales(1, "first"))
    sent.clear()
    assert buy("row", sales(1, "first")) == []
    assert len(sent) == 3


@pytest.mark.usefixtures("seated")
def test_where_the_session_is_not_its_own_nothing_is_prepared_and_commit_goes_by_itself(
    store: Postgres, sent: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Connections.connect

    def through_a_pooler(connections: Connections) -> Patient:
        connection = really(connections)
        connection.shared = ("SET LOCAL enable_seqscan=off",)
        return connection

    monkeypatch.setattr(Connections, "connect", through_a_pooler)
    with closing(Postgres(settings)) as other:
        view = other.view("show", sales(1, "a"), datetime.now(UTC))
        decide_all(view, [*sales(1, "a"), Hold("h", "r", "h1", 1, 60, 'it\'s \\ "{bob},NULL"')], datetime.now(UTC))
        sent.clear()
        other.append([view])
        assert len(sent) == 2
        assert list(store.audit("show")[1]) == view.fresh
        for _ in range(2):  # the second time the hall is known
            view = other.view("seated", of_seats(3, "a", "A"), datetime.now(UTC))
        decide_all(view, of_seats(3, "a", "A"), datetime.now(UTC))
        other.append([view])
        assert list(store.audit("seated")[1]) == view.fresh
        assert store.seats("seated").seats == view.seats
        assert other._transactions.ask("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


TEXTS = [
    "",
    "plain",
    "it's",
    "back\\slash",
    "\\'; DROP TABLE x; --",
    '"quoted"',
    "{a,b}",
    "NULL",
    "\n\t",
    "Zoë 🎫",
    "$1",
    "%s",
]


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_a_text_arrives_as_it_is_alone_and_in_a_list(settings: Settings, conforming: str) -> None:
    statement = Prepared("echo", "SELECT $1::text, $2::text[], $3::bigint, $4::timestamptz, $5::text")
    instant = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
    with closing(Connections(settings.store_url, 1, FAR_S, 0).connect()) as connection:
        connection.execute(f"SET standard_conforming_strings = {conforming}")  # type: ignore[call-overload]
        for text in TEXTS:
            parameters = [text, [text, None, "end"], 2**53, instant, None]
            for call in (connection.call(statement, parameters), statement.written_out(parameters)):
                assert connection.execute(call).fetchall() == [tuple(parameters)]  # type: ignore[call-overload]


def test_a_text_that_cannot_be_kept_is_refused_before_anything_is_sent() -> None:
    for value in ("Zo\0e", ["a", "Zo\0e"]):
        with pytest.raises(psycopg.DataError):
            literal(value)


def test_what_was_decided_in_another_epoch_is_not_written_though_commit_is_sent_with_it(store: Postgres) -> None:
    """Only an error of the engine keeps what stands before COMMIT from being committed. The control: in its epoch it
    is written."""
    mode = store.begin_epoch("none", 30)
    token = taking_part.set(mode)
    try:
        store.append([decided(store, "in time")])
        late = decided(store, "late")
        store.begin_epoch("row", 30)
        with pytest.raises(Switched):
            store.append([late])
    finally:
        taking_part.reset(token)
    assert store.view("show").version == len(list(store.audit("show")[1])) == 1


def decided(store: Postgres, name: str) -> View:
    view = store.view("show", sales(1, name), datetime.now(UTC))
    decide_all(view, sales(1, name), datetime.now(UTC))
    return view
