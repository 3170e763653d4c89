"""What a purchase asks a Valkey to do, counted by the engine: as many scripts for a batch as for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtests.lab.servers.engines import set_up
from loadtests.lab.servers.valkey import ValkeyServer
from service.rules.halls import SOLD, Hall, Plan, Row, Section
from service.rules.inventory import Cancel, Command, Event, Record, Sell, Wish, decide_all
from service.settings import Settings
from service.stores.redis.store import PARTS, Redis

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
FAR = time.monotonic() + 3_600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    """In an engine of its own: nobody else may be counted."""
    with ValkeyServer(tmp_path / "valkey") as server:
        address = server.fresh_database()
        set_up(address)
        with closing(Redis(Settings(data=tmp_path, store="redis", store_url=address))) as opened:
            opened.create(Event("show", "Show", 10_000))
            yield opened


def sales(count: int, name: str) -> list[Command]:
    return [Sell(f"{name}-{number}", "r", f"o-{name}-{number}", 1) for number in range(count)]


def calls(store: Redis) -> dict[str, int]:
    """How often the engine has carried out each command since it was last asked."""
    lines = store._engine.ask("INFO", "commandstats").decode().splitlines()
    found = {line[8 : line.index(":")]: int(line[line.index("calls=") + 6 : line.index(",")]) for line in lines[1:]}
    store._engine.ask("CONFIG", "RESETSTAT")
    return found


def test_a_batch_is_one_script_and_its_keys_and_orders_are_one_command_each(store: Redis) -> None:
    store.commit_atomically("show", sales(1, "first"), NOW, FAR)  # the engine knows the script from now on
    calls(store)
    for count in (1, 16):
        outcomes, _ = store.commit_atomically("show", sales(count, f"batch of {count}"), NOW, FAR)
        assert all(isinstance(outcome, Record) for outcome in outcomes)
        found = calls(store)
        assert (found["evalsha"], found["xadd"], found["hset"]) == (1, count, 3), count


def test_more_records_than_one_call_has_room_for_are_all_found_again(store: Redis) -> None:
    commands = sales(5_000, "many")
    view = store.view("show", commands, NOW)
    decide_all(view, [*commands, Cancel("c", "r", "o-many-0")], NOW)
    calls(store)
    store.append([view])
    assert calls(store)["hset"] == 6 + 6 + 1
    found = store.view("show", [*commands, Cancel("c", "r", "o-many-0")], NOW)
    assert len(found.keys) == 5_001
    assert found.orders["o-many-0"].status == "cancelled"


SEAT_COMMANDS = {"getrange", "setrange", "get", "strlen"}


@pytest.mark.parametrize("atomic", [False, True])
def test_an_event_without_a_hall_asks_for_no_seats_and_names_no_key_of_them(store: Redis, atomic: bool) -> None:
    assert _asked_of_the_engine(store, "show", sales(1, "first"), atomic=atomic).keys().isdisjoint(SEAT_COMMANDS)
    assert store._arguments("show", b"[]")[0] == 2 + 1 + len(PARTS)
    arena = _arena(store)
    found = _asked_of_the_engine(store, arena.event, [_named(1)], atomic=atomic)
    assert found["setrange"] == 2, "the canary: they are seen"


@pytest.mark.parametrize("atomic", [False, True])
def test_seats_come_with_the_view_once_the_hall_is_known(store: Redis, atomic: bool) -> None:
    """One script for the view, and one for what is appended; or one for all. At first also two to know the hall."""
    arena = _arena(store)
    found = _asked_of_the_engine(store, arena.event, [_named(1)], atomic=atomic)
    assert (found["get"], found["getrange"]) == (1, 2)
    found = _asked_of_the_engine(store, arena.event, [_named(2), Cancel("c", "r", "o-1")], atomic=atomic)
    assert "get" not in found
    assert found["evalsha"] == (1 if atomic else 2)
    assert (found["getrange"], found["setrange"]) == (2, 4)
    found = _asked_of_the_engine(store, arena.event, [Sell("k3", "r", "o-3", 5, wish=Wish())], atomic=atomic)
    assert (found["getrange"], found["setrange"]) == (1, 5), "all seats of the house in one string"
    calls(store)
    view = store.seats(arena.event)
    assert (len(view.seats), view.seats.count(SOLD)) == (20_000, 7)
    found = calls(store)
    assert (found["evalsha"], found["getrange"]) == (1, 1)


def _arena(store: Redis) -> Event:
    hall = Hall(Plan((Section("s", tuple(Row(f"R{row}", 50) for row in range(400))),)))
    store.halls.keep(hall)
    event = Event("arena", "Arena", hall.size, hall=hall.name, born="b")
    store.create(event)
    return event


def _named(number: int) -> Sell:
    return Sell(f"k{number}", "r", f"o-{number}", 2, wish=Wish((f"s-R{number}-7", f"s-R{number}-9")))


def _asked_of_the_engine(store: Redis, event: str, commands: list[Command], *, atomic: bool) -> dict[str, int]:
    calls(store)
    if atomic:
        store.commit_atomically(event, commands, NOW, FAR)
    else:
        view = store.view(event, commands, NOW)
        decide_all(view, commands, NOW)
        store.append([view])
    return calls(store)
