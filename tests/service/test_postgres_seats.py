"""Seats on the store ``postgres``: what a view shows and reads, its guards, and an older schema."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
import pytest
from differential_seats import (
    House,
    best,
    by_the_rules,
    hall_of,
    hold,
    houses,
    said,
    sell,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from servers import server, set_up, settings_of

from service.catalogue import GUARDS_OF
from service.errors import Problem, RefusedToStart
from service.guards import Guard, Transaction, guard_class
from service.rules.halls import FREE, HELD, SOLD, Hall, Plan, Row, Section
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Record,
    Refusal,
    Release,
    Sell,
    Sweep,
    decide_all,
)
from service.settings import Settings
from service.stores.postgres import schema
from service.stores.postgres.atomic import CALL, encoded
from service.stores.postgres.schema import MIGRATIONS, VERSION
from service.stores.postgres.scripts import Prepared
from service.stores.postgres.seats import spans_of
from service.stores.postgres.statements import VIEW_WITH_SEATS
from service.stores.postgres.store import Postgres
from service.stores.postgres.views import asked_for

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
FAR_S = 90.0
_serial = itertools.count()
SMALL = hall_of(s={"A": 4, "B": 3}, t={"A": 2})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with closing(Postgres(settings_of("postgres", tmp_path_factory.mktemp("seats")))) as opened:
        yield opened


def house(store: Postgres, name: str, hall: Hall, **more: Any) -> None:
    """Make an event of this name in a hall."""
    store.halls.keep(hall)
    store.create(Event(name, "Show", hall.size, lab=True, hall=hall.name, born=name, **more))


def decided(store: Postgres, event: str, *commands: Command, after_s: float = 0) -> list[object]:
    """Decide by the rules, and write: the seats that each got, or why it got none."""
    now = NOW + timedelta(seconds=after_s)
    view = store.view(event, commands, now)
    outcomes = decide_all(view, commands, now)
    store.append([view])
    return said(outcomes)


def states(store: Postgres, event: str) -> dict[str, int]:
    """The seats that are not free, and the state of each."""
    view = store.seats(event)
    assert view.hall is not None
    return {view.hall.seat(index): state for index, state in enumerate(view.seats) if state != FREE}


def rows(store: Postgres, event: str) -> list[tuple[int, int]]:
    """The rows of the event's seats."""
    query = "SELECT seat, state FROM lastseat.seats s JOIN lastseat.events e ON e.id = s.event WHERE name = %s"
    return sorted(store._transactions.ask(query, (event,)))


@hypothesis_settings(max_examples=60)
@given(house=houses())
def test_a_view_shows_all_seats_that_its_commands_need(store: Postgres, house: House) -> None:
    outcomes, records, counters, seats = by_the_rules(house)
    store.halls.keep(house.hall)
    name = f"v{next(_serial)}"
    store.create(msgspec.structs.replace(house.event, event=name))
    for after_s, asked in house.told:
        now = NOW + timedelta(seconds=after_s)
        view = store.view(name, asked, now)
        decide = decide_all(view, asked, now)
        assert decide == [outcomes.pop(0) for _ in asked]
        if view.fresh:
            store.append([view])
    view = store.seats(name)
    assert (list(store.audit(name)[1]), (view.version, view.sold, view.held, view.next_ticket)) == (records, counters)
    assert bytes(view.seats) == seats


# -- what the store keeps and shows -----------------------------------------------------------------------------------


def test_a_seat_has_a_row_from_when_it_is_taken_until_it_is_given_back(store: Postgres) -> None:
    house(store, "rows", SMALL)
    decided(store, "rows", sell("a", "s-A-4", "s-A-1"), hold("b", "t-A-1"), hold("c", "s-B-1"))
    assert rows(store, "rows") == [(0, SOLD), (3, SOLD), (4, HELD), (7, HELD)]
    decided(store, "rows", Confirm("d", "r", "hb", "od"), Cancel("e", "r", "oa"), Release("f", "r", "hc"))
    assert rows(store, "rows") == [(7, SOLD)]
    assert states(store, "rows") == {"t-A-1": SOLD}


def test_seats_that_are_taken_and_given_back_by_one_write_are_as_the_last_record_left_them(store: Postgres) -> None:
    house(store, "often", SMALL)
    decided(store, "often", sell("a", "s-A-1"), hold("b", "s-A-2"), hold("c", "s-A-3"))
    decided(
        store,
        "often",
        Cancel("d", "r", "oa"), hold("e", "s-A-1"), Confirm("f", "r", "he", "of"),  # sold, and sold anew
        Confirm("g", "r", "hb", "og"), Cancel("h", "r", "og"),  # held, and free
        Release("i", "r", "hc"), sell("j", "s-A-3"), Cancel("k", "r", "oj"), hold("l", "s-A-3"),  # held, and held anew
        hold("m", "s-A-4"), Release("n", "r", "hm"),  # free, and free
    )  # fmt: skip
    assert rows(store, "often") == [(0, SOLD), (2, HELD)]


def test_records_orders_holds_and_replays_name_their_seats_in_the_order_asked(store: Postgres) -> None:
    house(store, "named", SMALL)
    commands = [sell("a", "s-A-3", "s-A-1"), hold("b", "t-A-2", "s-B-1", lasts_s=5), hold("c", "s-B-3", lasts_s=9)]
    assert decided(store, "named", *commands) == [("s-A-3", "s-A-1"), ("t-A-2", "s-B-1"), ("s-B-3",)]
    asked = [commands[0], Confirm("d", "r", "hc", "od")]
    view = store.view("named", asked, NOW + timedelta(seconds=6), order="oa")
    assert view.keys["a"].seats == view.orders["oa"].seats == ("s-A-3", "s-A-1")
    assert view.holds["hc"].seats == ("s-B-3",)
    assert [held.seats for held in view.due] == [("t-A-2", "s-B-1")]
    assert [record.seats for record in store.audit("named")[1]] == [each.wish.seats for each in commands]
    assert decided(store, "named", Sweep(), after_s=6)
    assert [record.seats for record in store.audit("named")[1]][3:] == [("t-A-2", "s-B-1")]


def test_the_map_has_all_states_and_counters_of_one_version(store: Postgres) -> None:
    """A writer commits a sale and a cancellation in turn while somebody reads: each map agrees with its counters."""
    house(store, "moving", SMALL)
    ended = threading.Event()

    def write() -> None:
        try:
            for turn in range(60):
                decided(store, "moving", sell(f"{turn}", "s-A-1", "s-A-2", "t-A-1"))
                decided(store, "moving", Cancel(f"c{turn}", "r", f"o{turn}"))
        finally:
            ended.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = Counter[int]()
        while not ended.is_set():
            view = store.seats("moving")
            assert view.seats.count(SOLD) == view.sold == 3 * (view.version % 2)
            seen[view.sold] += 1
        writing.result(FAR_S)
    assert store.seats("moving").version == 120
    assert seen


def test_an_event_of_another_hall_under_the_same_name_is_noticed_by_who_knew_the_first(
    store: Postgres, tmp_path: Path
) -> None:
    address = server("postgres").fresh_database()
    set_up(address)
    settings = Settings(data=tmp_path, store="postgres", store_url=address)
    with closing(Postgres(settings)) as mine, closing(Postgres(settings)) as other:
        house(mine, "again", SMALL)
        assert decided(other, "again", sell("a", "s-A-1"), sell("b", "s-B-3")) == [("s-A-1",), ("s-B-3",)]
        mine.delete("again")
        assert mine._transactions.ask("SELECT count(*) FROM lastseat.seats") == [(0,)]
        house(mine, "again", hall_of(x={"Z": 2}))
        assert decided(other, "again", sell("c", "s-A-1"), sell("d", "x-Z-2")) == ["unknown_seat", ("x-Z-2",)]
        mine.delete("again")
        mine.create(Event("again", "Show", 9, lab=True))
        assert decided(other, "again", sell("e", "x-Z-2"), Sell("f", "r", "of", 1)) == ["no_hall", ()]
        with pytest.raises(Problem, match="no_hall"):
            other.seats("again")


def test_a_hall_that_is_missing_or_was_changed_is_said_to_be_damaged(tmp_path: Path) -> None:
    settings = settings_of("postgres", tmp_path)
    with closing(Postgres(settings)) as mine:
        house(mine, "show", SMALL)
        for damage in ("UPDATE lastseat.halls SET plan = replace(plan, '4', '5')", "DELETE FROM lastseat.halls"):
            mine._transactions.ask(f"{damage} RETURNING name")
            with closing(Postgres(settings)) as fresh, pytest.raises(Problem, match="corrupt_document"):
                fresh.view("show")


# -- what it costs ----------------------------------------------------------------------------------------------------


def hall_of_rows(count: int, seats: int) -> Hall:
    return Hall(Plan((Section("s", tuple(Row(f"{number}", seats) for number in range(count))),)))


HALLS = {"studio": hall_of_rows(4, 15), "arena": hall_of_rows(200, 100)}
ALL_BUT_TWO = "s-1-7", "s-2-3"


@pytest.fixture(scope="module")
def sold(store: Postgres) -> Postgres:
    """A studio of 60 and an arena of 20,000 seats, in which all seats but two are sold, and one is held."""
    for name, hall in HALLS.items():
        house(store, name, hall, max_per_order=MOST)
        free = set(map(hall.index, (*ALL_BUT_TWO, "s-0-1")))
        taken = [index for index in range(hall.size) if index not in free]
        view = store.view(name, [hold("a", "s-0-1")], NOW)
        decide_all(view, [hold("a", "s-0-1")], NOW)
        store.append([view])
        store._transactions.ask(
            "WITH filled AS (INSERT INTO lastseat.seats SELECT id, unnest(%s::integer[]), 2 FROM lastseat.events "
            "WHERE name = %s RETURNING 1), counted AS (UPDATE lastseat.events SET sold = %s WHERE name = %s) "
            "SELECT count(*) FROM filled",
            (taken, name, len(taken), name),
        )
    return store


MOST = 100
WANTED = {
    "seats by name": ([sell("n", *ALL_BUT_TWO)], 0),
    "a taken one too": ([sell("n", "s-1-7", "s-3-1")], 1),
    "a hold": ([Confirm("n", "r", "ha", "on")], 1),
    "the best": ([best("n", 2)], None),
}


@pytest.mark.parametrize("statistics", ["none", "analysed"])
@pytest.mark.parametrize(("commands", "expected"), WANTED.values(), ids=WANTED)
def test_named_seats_of_an_arena_cost_as_much_as_of_a_studio(
    sold: Postgres, commands: list[Command], expected: int | None, statistics: str
) -> None:
    """The control: who wants the best looks at every seat of the hall that is taken."""
    read = {}
    if statistics == "analysed":
        with closing(sold._connections.connect()) as connection:
            connection.execute("ANALYZE lastseat.seats, lastseat.records, lastseat.open_holds")
    for name, hall in HALLS.items():
        asked = [*asked_for(name, commands, NOW, None), *spans_of(hall, commands)]
        read[name] = seats_read(sold, VIEW_WITH_SEATS, asked)
    if expected is None:
        assert read == {name: hall.size - 2 for name, hall in HALLS.items()}
    else:
        assert read == dict.fromkeys(HALLS, expected)


def test_the_function_looks_at_the_named_seats_alone(sold: Postgres) -> None:
    for name, hall in HALLS.items():
        row = sold.view(name).source.row  # type: ignore[attr-defined]
        for commands, expected in WANTED.values():
            read = seats_read(sold, CALL, [row, NOW, encoded(commands, NOW, hall)])
            if expected is None:
                assert read >= hall.size - 2
            else:
                assert read <= expected + 2


class Undone(Exception):
    pass


def seats_read(store: Postgres, statement: Prepared, parameters: Sequence[object]) -> int:
    """How many rows of seats a statement reads, in whatever way; what it does is undone."""
    counted = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'seats'"
    with closing(store._connections.connect()) as connection:
        call = connection.call(statement, parameters)
        try:
            with connection.transaction():
                connection.execute(call)  # type: ignore[call-overload]
                [(read,)] = connection.execute(counted).fetchall()
                raise Undone
        except Undone:
            return int(read)


# -- under each guard -------------------------------------------------------------------------------------------------

SEATS = hall_of(s={"A": 7, "B": 6}, t={"A": 5, "B": 4})
SAFE = [guard for guard in GUARDS_OF["postgres"] if guard != "none"]


def buying(store: Postgres, guard: Guard, commands: list[Command], meet: Callable[[], object] = lambda: None) -> Any:
    """Commands decided together under a guard; ``meet`` stands between reading and deciding."""

    def decide(views: Any, asked: Any, now: datetime) -> Any:
        meet()
        return decide_all(views[0], asked[0], now), views

    transaction: Transaction[Any] = Transaction(store, ("show",), lambda: (commands,), decide, time.monotonic() + FAR_S)
    guard.run(transaction)
    return transaction.outcomes


@pytest.mark.parametrize("guard", SAFE)
def test_eight_buyers_at_once_sell_the_hall_to_the_last_seat_and_none_twice(tmp_path: Path, guard: str) -> None:
    settings = settings_of("postgres", tmp_path)
    with closing(Postgres(settings)) as store:
        house(store, "show", SEATS)
        built = guard_class(guard)(settings, store)

        def buy(buyer: int) -> set[str]:
            refused = set()
            wishes = [
                sell("", SEATS.seat(5 * buyer % SEATS.size), SEATS.seat((5 * buyer + 3) % SEATS.size)),
                best("", 3, together=True), best("", 2, "t", together=True), best("", 2, "s"),
                *[best("", 1)] * SEATS.size,
            ]  # fmt: skip
            for turn, wish in enumerate(wishes):
                key = f"{buyer}-{turn}"
                wanted: Command = msgspec.structs.replace(wish, key=key, order=f"o-{key}")
                if turn % 2:
                    held = Hold(key, "r", f"h-{key}", wish.quantity, 60, wish=wish.wish)
                    commands: list[Command] = [held, Confirm(f"c-{key}", "r", held.hold, f"o-{key}")]
                elif turn == 4:
                    commands = [wanted, Cancel(f"c-{key}", "r", f"o-{key}")]
                else:
                    commands = [wanted]
                outcome = buying(store, built, commands)[0]
                if isinstance(outcome, Refusal):
                    refused.add(outcome.code)
                    if wish.quantity == 1:
                        break
            return refused

        with ThreadPoolExecutor(8) as pool:
            refused = list(pool.map(buy, range(8)))
        assert all("sold_out" in each for each in refused)
        audit = list(store.audit("show")[1])
        assert [record.version for record in audit] == list(range(1, len(audit) + 1))
        owned: list[str] = []
        for record in audit:
            if record.kind in ("sold", "held"):
                assert not set(owned) & set(record.seats), record
                owned += record.seats
            elif record.kind == "cancelled":
                owned = [seat for seat in owned if seat not in record.seats]
        assert sorted(owned) == sorted(map(SEATS.seat, range(SEATS.size)))
        assert rows(store, "show") == [(index, SOLD) for index in range(SEATS.size)]
        view = store.seats("show")
        assert (view.sold, view.held, view.remaining) == (SEATS.size, 0, 0)


@pytest.mark.parametrize("wanted", [sell("", "s-A-4"), best("", 1)], ids=["by name", "the best"])
def test_without_a_guard_two_buyers_who_meet_get_one_seat(tmp_path: Path, wanted: Sell) -> None:
    """The negative control: nothing in the schema refuses a second owner. Under ``optimistic`` the same two meet, and
    the second is refused or gets another one."""
    settings = settings_of("postgres", tmp_path)
    owners = {}
    for guard in ("none", "optimistic"):
        with closing(Postgres(settings)) as store:
            house(store, "show", SEATS)
            built = guard_class(guard)(settings, store)
            both_have_read = threading.Barrier(2, timeout=FAR_S)
            met = threading.local()

            def meet(met: Any = met, barrier: threading.Barrier = both_have_read) -> None:
                if not getattr(met, "once", False):
                    met.once = True
                    barrier.wait()

            commands = [[msgspec.structs.replace(wanted, key=key, order=f"o-{key}")] for key in "ab"]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(partial(buying, store, built, meet=meet), commands))
            owners[guard] = [record.seats for record in store.audit("show")[1]].count(("s-A-4",))
            assert len(rows(store, "show")) == len(list(store.audit("show")[1]))
            assert states(store, "show")["s-A-4"] == SOLD
            store.delete("show")
    assert owners == {"none": 2, "optimistic": 1}


# -- the schema of before ---------------------------------------------------------------------------------------------

OF_THE_VERSION_BEFORE: LiteralString = """
    INSERT INTO lastseat.events (name, about, capacity, max_per_order, version, sold, held, next_ticket, appended)
        VALUES ('show', '{"event":"show","name":"Show","capacity":5,"lab":true}', 5, 10, 2, 2, 1, 4, 2);
    INSERT INTO lastseat.records
        (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id, expires_at)
    VALUES (1, 1, 'sold', 'a', 'o1', 2, 1, 3, 'r', 'ann', NULL, NULL),
        (1, 2, 'held', 'b', '', 1, 3, 2, 'r', NULL, 'h1', '2026-11-23 09:00Z');
    INSERT INTO lastseat.open_holds (event, hold_id, version, quantity, first_ticket, expires_at)
        VALUES (1, 'h1', 2, 1, 3, '2026-11-23 09:00Z');
"""


@pytest.fixture
def before_seats(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database as the version before seats left it, with a sale and an open hold."""
    address = server("postgres").fresh_database()
    with monkeypatch.context() as third:
        third.setattr(schema, "MIGRATIONS", MIGRATIONS[:3])
        third.setattr(schema, "VERSION", 3)
        set_up(address)
    with closing(psycopg.connect(address, autocommit=True)) as owner:
        owner.execute(OF_THE_VERSION_BEFORE)
    return str(address)


def opened(address: str, data: Path) -> Postgres:
    return Postgres(Settings(data=data, store="postgres", store_url=address))


def test_an_upgrade_keeps_what_is_sold_and_held_and_then_there_are_seats(before_seats: str, tmp_path: Path) -> None:
    with closing(opened(before_seats, tmp_path)) as store, pytest.raises(RefusedToStart, match="in version 3"):
        store.check()
    assert set_up(before_seats) == f"the schema lastseat was brought from version 3 to {VERSION}"
    with closing(opened(before_seats, tmp_path)) as store:
        store.check()
        view = store.view("show", [Sell("a", "r", "o", 1)], order="o1")
        assert (view.version, view.sold, view.held, view.next_ticket, view.hall) == (2, 2, 1, 4, None)
        assert view.keys["a"] == Record(1, "sold", "a", "o1", 2, (1, 2), 3, "r", "ann")
        assert decided(store, "show", Confirm("c", "r", "h1", "o2"), sell("d", "s-A-1")) == [(), "no_hall"]
        [sale], _ = store.commit_atomically("show", [Sell("e", "r", "o3", 2)], NOW, time.monotonic() + FAR_S)
        assert isinstance(sale, Record)
        assert (sale.tickets, sale.seats) == ((4, 5), ())
        assert [record.seats for record in store.audit("show")[1]] == [()] * 4
        house(store, "seated", SMALL)
        assert decided(store, "seated", sell("a", "s-A-2"), best("b", 1)) == [("s-A-2",), ("s-A-3",)]


def test_an_office_of_the_version_before_is_refused_at_its_start_and_while_it_runs(
    before_seats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows of no seats, and would sell numbers of a hall. Its every view names ``events.about``."""
    asked = "SELECT about FROM lastseat.events WHERE name = %s"
    with closing(opened(before_seats, tmp_path)) as store:
        assert store._transactions.ask(asked, ("show",))
        set_up(before_seats)
        with pytest.raises(Problem, match="engine_went_back"):
            store._transactions.ask(asked, ("show",))
        monkeypatch.setattr(schema, "VERSION", 3)
        with pytest.raises(RefusedToStart, match=f"in version {VERSION}, and this service needs 3"):
            store.check()


def test_who_had_rights_on_the_records_has_them_on_the_seats_after_an_upgrade(
    before_seats: str, tmp_path: Path
) -> None:
    with closing(psycopg.connect(before_seats, autocommit=True)) as owner:
        owner.execute(f"CREATE ROLE box LOGIN PASSWORD '{server('postgres').password}'")  # type: ignore[call-overload]
        try:
            owner.execute(
                "GRANT USAGE ON SCHEMA lastseat TO box;"
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lastseat TO box"
            )
            set_up(before_seats)
            with closing(opened(before_seats.replace("lastseat:", "box:", 1), tmp_path)) as store:
                house(store, "seated", SMALL)
                decided(store, "seated", hold("a", "s-A-2"), Confirm("b", "r", "ha", "ob"), Cancel("c", "r", "ob"))
                [sale], _ = store.commit_atomically("seated", [best("d", 1)], NOW, time.monotonic() + FAR_S)
                assert isinstance(sale, Record)
                assert sale.seats == ("s-A-2",)
        finally:
            owner.execute("DROP OWNED BY box")
            owner.execute("DROP ROLE box")
