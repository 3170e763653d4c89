"""A cart in an engine: one script writes to several events, in all of them or in none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers import settings_of

from service.errors import Problem
from service.rules.inventory import Event, Hold, Record, Sell, View, decide_all
from service.runtime.epoch import Mode, Switched, taking_part
from service.stores.base import ComparesAndSets, Conflict, LateToken
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
EVENTS = ("b", "a", "c")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    opened = Redis(settings_of("redis", tmp_path))
    for name in EVENTS:
        opened.create(Event(name, name, 5, max_per_buyer=4))
    yield opened
    opened.close()


def decided(store: Redis, key: str = "k", now: datetime = NOW, quantity: int = 2) -> list[View]:
    """A sale in each event, as it is to be written."""
    views = []
    for name in EVENTS:
        sale = Sell(key, "r", f"o-{key}-{name}", quantity, "ann", f"cart-{key}")
        view = store.view(name, [sale], now)
        [outcome] = decide_all(view, [sale], now)
        assert isinstance(outcome, Record)
        views.append(view)
    return views


def audits(store: Redis) -> list[list[Record]]:
    return [list(store.audit(name)[1]) for name in EVENTS]


def buy_in(store: Redis, event: str) -> None:
    """Somebody else's purchase."""
    sale = Sell("other", "r", "o-other", 1, "bob")
    view = store.view(event, [sale], NOW)
    decide_all(view, [sale], NOW)
    store.append([view])


def test_a_cart_is_written_in_all_of_its_events(store: Redis) -> None:
    assert isinstance(store, ComparesAndSets)
    views = decided(store)
    assert store.append(views) == [None] * 3
    assert audits(store) == [view.fresh for view in views]
    for name in EVENTS:
        view = store.view(name, [Sell("k", "r", "x", 1, "ann")])
        assert (view.version, view.sold, view.next_ticket, view.bought) == (1, 2, 3, {"ann": 2})
        assert view.keys["k"].cart == "cart-k"


def test_holds_that_were_due_expire_with_the_cart(store: Redis) -> None:
    hold = Hold("h", "r", "h1", 4, 1, "bob")
    view = store.view("a", [hold], NOW)
    decide_all(view, [hold], NOW)
    store.append([view])
    later = NOW + timedelta(seconds=1)
    store.append_if_unchanged(decided(store, now=later))
    assert [record.kind for record in audits(store)[1]] == ["held", "expired", "sold"]
    assert not store.view("a", now=later).due


def test_without_a_condition_a_cart_is_written_over_what_came_between(store: Redis) -> None:
    """The negative control: the store excludes nobody and repairs nothing."""
    views = decided(store)
    buy_in(store, "c")
    store.append(views)
    assert [record.tickets for record in audits(store)[2]] == [(1,), (1, 2)]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_has_changed_lets_nothing_be_written_in_any(store: Redis, event: str) -> None:
    views = decided(store)
    buy_in(store, event)
    before = audits(store)
    with pytest.raises(Conflict):
        store.append_if_unchanged(views)
    assert audits(store) == before
    store.append_if_unchanged(decided(store))
    assert [len(records) for records in audits(store)] == [1 + len(records) for records in before]


BOTH = pytest.mark.parametrize("append", [Redis.append, Redis.append_if_unchanged])


@BOTH
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_is_gone_is_named_and_nothing_is_written_in_any(
    store: Redis, event: str, append: Callable[..., object]
) -> None:
    views = decided(store)
    store.delete(event)
    with pytest.raises(Problem) as problem:
        append(store, views)
    assert (problem.value.code, problem.value.extra) == ("unknown_event", {"event": event})
    assert [list(store.audit(name)[1]) for name in EVENTS if name != event] == [[], []]


@BOTH
def test_an_event_that_was_made_anew_is_not_the_one_that_was_read(store: Redis, append: Callable[..., object]) -> None:
    views = decided(store)
    store.delete("c")
    store.create(Event("c", "c", 5))
    with pytest.raises((Problem, Conflict), match=r"unknown_event|^$"):
        append(store, views)
    assert audits(store) == [[], [], []]


@pytest.mark.parametrize("event", EVENTS)
def test_one_token_that_is_late_lets_nothing_be_written_in_any(store: Redis, event: str) -> None:
    tokens = {name: store.take_fenced_lease(name, 60_000) or "" for name in EVENTS}
    views = decided(store)
    store.give_lease_back(event, tokens[event])
    newer = store.take_fenced_lease(event, 60_000) or ""
    with pytest.raises(LateToken):
        store.append_fenced(views, list(tokens.values()))
    assert audits(store) == [[], [], []]
    store.append_fenced(views, list((tokens | {event: newer}).values()))
    assert [len(records) for records in audits(store)] == [1, 1, 1]


@BOTH
def test_a_cart_of_an_older_epoch_is_written_nowhere(store: Redis, append: Callable[..., object]) -> None:
    older = store.begin_epoch("atomic", 30)
    views = decided(store)
    store.begin_epoch("optimistic", 30)
    with pytest.raises(Switched), taking_part_in(older):
        append(store, views)
    assert audits(store) == [[], [], []]


@contextlib.contextmanager
def taking_part_in(mode: Mode) -> Iterator[None]:
    taken = taking_part.set(mode)
    try:
        yield
    finally:
        taking_part.reset(taken)


@pytest.mark.parametrize("event", EVENTS)
def test_an_engine_that_has_lost_sales_of_one_event_sells_in_none(store: Redis, event: str) -> None:
    store.append(decided(store))
    views = decided(store, "l")
    store._engine.ask("HSET", store._key("event", event), "count", 0, writes=True)
    with pytest.raises(Problem) as problem:
        store.append(views)
    assert (problem.value.code, problem.value.extra) == ("engine_went_back", {"event": event})
    store._engine.ask("HSET", store._key("event", event), "count", 1, writes=True)
    assert [len(records) for records in audits(store)] == [1, 1, 1]
