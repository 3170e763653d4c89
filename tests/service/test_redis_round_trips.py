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
from service.rules.inventory import Cancel, Command, Event, Record, Sell, decide_all
from service.settings import Settings
from service.stores.redis.store import Redis

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
