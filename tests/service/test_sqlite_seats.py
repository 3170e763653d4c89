"""Seats on the store ``sqlite``: what a view shows and reads, the rules in its language, and older files."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from differential_seats import (
    ALL_TELLING,
    House,
    best,
    by_an_engine,
    by_the_rules,
    by_views,
    houses,
    said,
    sell,
)
from flask.testing import FlaskClient
from hypothesis import given
from seat_sales import NOW, buy_in_a_cart, follow_the_map, sell_one_seat_twice, sell_out

from service.errors import Problem
from service.rules.halls import SOLD, Hall, Plan, Row, Section
from service.rules.inventory import Cancel, Command, Event, Hold, Release, Sell, decide_all
from service.settings import Settings
from service.stores.sqlite import atomic, connections
from service.stores.sqlite.store import Sqlite


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path_factory.mktemp("seats")))
    yield opened
    opened.close()


@given(house=houses())
def test_the_engine_decides_about_seats_as_the_rules_do(store: Sqlite, house: House) -> None:
    assert by_an_engine(store, house) == by_the_rules(house)


@given(house=houses())
def test_a_view_shows_all_seats_that_its_commands_need(store: Sqlite, house: House) -> None:
    assert by_views(store, house) == by_the_rules(house)


def test_what_tells_a_wrong_translation_asks_for_every_kind_of_answer() -> None:
    """So that the canaries below mean something."""
    told = [each for house in ALL_TELLING for each in said(by_the_rules(house)[0])]
    refusals = {
        "unknown_seat", "over_limit", "row_too_short", "buyer_needed", "hold_too_long", "doors_closed", "buyer_limit",
        "seat_taken", "section_sold_out", "sold_out", "not_together", "too_many_held", "hold_expired",
    }  # fmt: skip
    assert refusals - {str(each) for each in told} == set()


WRONG = {
    "a seat is sold twice": ("_SELL", "(:seats IS NULL OR", "(1 OR"),
    "what is sold is held": ("_HOLD", "(:seats IS NULL OR", "(1 OR"),
    "a late payment gets what is sold": ("_SELL_LATE", "(:seats IS NULL OR", "(1 OR"),
    "an expired hold keeps its seats": ("_SEATS_OF_EXPIRED", "IS NOT NULL", "IS NULL"),
    "an expiry names no seats": ("_EXPIRE", "due.seats", "NULL"),
    "a cancellation names no seats": ("_CANCELLED_ORDER", "buyer, seats", "buyer, NULL"),
    "a hold forgets its seats": ("_HELD", "buyer, seats", "buyer, NULL"),
    "the best is taken": ("_NEAREST", "WHERE NOT EXISTS", "WHERE 1 OR NOT EXISTS"),
    "the best is at the end": ("_NEAREST", "abs(2 * place + 1 - size), place", "place"),
    "the best is beside the middle": ("_NEAREST", "2 * place + 1 - size", "2 * place - size"),
    "of two as near the higher number": ("_NEAREST", "size), place", "size), place DESC"),
    "the rows do not count": ("_NEAREST", "ORDER BY line, abs", "ORDER BY abs"),
    "what a row lacks is in no other": (
        "_NEAREST",
        "walk.before + walk.free < :quantity",
        "walk.before + walk.free = 0",
    ),
    "neighbours begin on a taken seat": ("_NEIGHBOURS", "lines.first + 1 FROM", "lines.first FROM"),
    "neighbours end on a taken seat": ("_NEIGHBOURS", "- :quantity AS high", "- :quantity + 1 AS high"),
    "neighbours are one too few": ("_NEIGHBOURS", "- :quantity AS high", "- :quantity - 1 AS high"),
    "neighbours begin in the middle": ("_NEIGHBOURS", "(lines.size - :quantity) / 2", "lines.size / 2"),
    "neighbours have the higher numbers": (
        "_NEIGHBOURS",
        "lines.size - :quantity) / 2",
        "lines.size - :quantity + 1) / 2",
    ),
    "neighbours have the lowest numbers": ("_NEIGHBOURS", "ORDER BY distance, begin", "ORDER BY begin"),
    "of two gaps as near the higher": ("_NEIGHBOURS", "ORDER BY distance, begin", "ORDER BY distance, begin DESC"),
    "neighbours are of any row": ("_NEIGHBOURS", "WHERE walk.begin IS NULL", ""),
    "neighbours are of two rows": ("_NEIGHBOURS", "+ low AND seat < lines.first + lines.size", "+ low"),
}


@pytest.mark.parametrize(("statement", "right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, statement: str, right: str, wrong: str
) -> None:
    """The canary: conditions of the statements left out or shifted by one, and the comparison has to see it."""
    expected = [by_the_rules(house) for house in ALL_TELLING]
    assert [by_an_engine(store, house) for house in ALL_TELLING] == expected
    text = getattr(atomic, statement)
    assert text.count(right) == 1
    monkeypatch.setattr(atomic, statement, text.replace(right, wrong))
    with suppress(RuntimeError):  # refused where the rules grant it: noticed at run time
        assert [by_an_engine(store, house) for house in ALL_TELLING] != expected


# -- sales ------------------------------------------------------------------------------------------------------------


Make = Callable[..., FlaskClient]


@pytest.mark.parametrize("guard", ["thread", "immediate", "optimistic", "atomic"])
def test_a_hall_is_sold_to_the_last_seat_and_none_twice(make_client: Make, admin: dict[str, str], guard: str) -> None:
    sell_out(make_client(store="sqlite", guard=guard, lock_timeout_s=60), admin)


def test_without_a_guard_a_seat_is_sold_twice(make_client: Make, admin: dict[str, str], tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    sell_one_seat_twice(make_client(store="sqlite", guard="none", gates=str(gates), gates_patience_s=30), admin, gates)


@pytest.mark.parametrize("guard", ["immediate", "atomic"])
def test_the_map_follows_and_what_is_given_back_is_free(make_client: Make, admin: dict[str, str], guard: str) -> None:
    follow_the_map(make_client(store="sqlite", guard=guard), admin)


@pytest.mark.parametrize("guard", ["immediate", "optimistic", "atomic"])
def test_a_cart_has_its_seats_in_all_of_its_events_or_in_none(
    make_client: Make, admin: dict[str, str], guard: str
) -> None:
    buy_in_a_cart(make_client(store="sqlite", guard=guard), admin)


# -- what it costs ----------------------------------------------------------------------------------------------------


def sold_house(store: Sqlite, name: str, rows: int, seats: int) -> Event:
    """An event with a hall, all of whose seats are sold."""
    hall = Hall(Plan((Section("s", tuple(Row(f"R{row}", seats) for row in range(rows))),)))
    store.halls.keep(hall)
    event = Event(name, name, hall.size, max_per_order=hall.size, hall=hall.name, born=name)
    store.create(event)
    view = store.view(name, [best("all", hall.size)], NOW)
    decide_all(view, [best("all", hall.size)], NOW)
    store.append([view])
    return event


class Counted(NamedTuple):
    statements: list[str]
    steps: list[int]
    """Of the engine's own machine."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What the engine is asked by stores that are opened from now on, and how many steps it takes."""
    found = Counted([], [0])
    really_open = connections.open_connection

    def step() -> int:
        found.steps[0] += 1
        return 0

    def open_counted(path: Path) -> sqlite3.Connection:
        connection = really_open(path)
        connection.set_trace_callback(found.statements.append)
        connection.set_progress_handler(step, 1)
        return connection

    monkeypatch.setattr(connections, "open_connection", open_counted)
    return found


def test_two_seats_of_an_arena_are_looked_up_as_those_of_a_studio(tmp_path: Path, counted: Counted) -> None:
    store = Sqlite(Settings(data=tmp_path))

    def steps(event: Event, *commands: Command) -> int:
        store.view(event.event, commands, NOW)  # the hall is known from now on
        counted.steps[0] = 0
        view = store.view(event.event, commands, NOW)
        assert SOLD in view.seats
        return counted.steps[0]

    studio, arena = sold_house(store, "studio", 6, 10), sold_house(store, "arena", 400, 50)
    named = sell("k", "s-R5-7", "s-R2-9")
    assert steps(arena, named) == steps(studio, named)
    assert steps(arena, best("k", 1)) > 100 * steps(studio, named), "the canary: these are counted"
    store.close()


@pytest.mark.parametrize("atomic", [False, True])
def test_an_event_without_a_hall_has_no_seats_read_or_written(tmp_path: Path, counted: Counted, atomic: bool) -> None:
    store = Sqlite(Settings(data=tmp_path))
    store.create(Event("show", "Show", 10))
    hall = sold_house(store, "studio", 6, 10)

    def asked_about_seats(event: str) -> list[str]:
        counted.statements.clear()
        commands = [Sell("k", "r", "o", 1), Hold("l", "r", "h", 1, 9), Cancel("m", "r", "o"), Release("n", "r", "h")]
        if atomic:
            store.commit_atomically(event, commands, NOW, time.monotonic() + 60)
        else:
            view = store.view(event, commands, NOW)
            decide_all(view, commands, NOW)
            store.append([view])
        # The statement of a sale has the condition in it; it is looked at where seats are named.
        text = [each for each in counted.statements if not each.lstrip().startswith("UPDATE events")]
        return [each for each in text if re.search(r"\b(FROM|INTO|JOIN) (seats|halls)\b", each)]

    assert asked_about_seats("show") == []
    assert asked_about_seats(hall.event), "the canary: such statements are seen"
    store.close()


# -- what cannot be read ----------------------------------------------------------------------------------------------


DAMAGE = {
    "a hall that is gone": "DELETE FROM halls",
    "a hall that is another": "UPDATE halls SET plan = replace(plan, 's', 't')",
    "a state that there is not": "UPDATE seats SET state = 'lost' WHERE seat = 1",
    "a record with other things than seats": "UPDATE records SET seats = '[1]'",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_cannot_be_read_is_said_and_nothing_is_sold(tmp_path: Path, damage: str) -> None:
    store = Sqlite(Settings(data=tmp_path))
    sold_house(store, "studio", 6, 10)
    store.close()
    with sqlite3.connect(tmp_path / "lastseat.db") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(Problem, match="corrupt_document"):
        (again := Sqlite(Settings(data=tmp_path))).seats("studio")
        list(again.audit("studio")[1])


def test_a_deleted_events_seats_are_gone(tmp_path: Path) -> None:
    store = Sqlite(Settings(data=tmp_path))
    event = sold_house(store, "studio", 6, 10)
    store.delete("studio")
    store.create(event)
    assert sum(store.seats("studio").seats) == 0
    with sqlite3.connect(tmp_path / "lastseat.db") as connection:
        assert connection.execute("SELECT count(*) FROM seats").fetchone() == (0,)
    connection.close()


def test_an_event_without_a_hall_has_no_map(store: Sqlite) -> None:
    store.create(Event("plain", "Plain", 10))
    with pytest.raises(Problem, match="no_hall"):
        store.seats("plain")
