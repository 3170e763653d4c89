"""A cart in PostgreSQL: one transaction over all of its events, and the locks of all of them in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers import settings_of

from service.errors import Problem
from service.guards.advisory import AdvisoryGuard
from service.guards.base import EngineLock
from service.guards.row import RowGuard
from service.guards.table import TableGuard
from service.rules.inventory import Event, Hold, Record, Sell, View, decide_all
from service.stores.base import Conflict
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
FAR_S = 90.0
LOCKS = [RowGuard, TableGuard, AdvisoryGuard]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    """The same office opened twice, with the events a and b of five tickets."""
    both = tuple(Postgres(settings_of("postgres", tmp_path)) for _ in range(2))
    for name in "ab":
        both[0].create(Event(name, name, 5, lab=True))
    yield both  # type: ignore[misc]
    for store in both:
        store.close()


@pytest.fixture
def store(stores: tuple[Postgres, Postgres]) -> Postgres:
    return stores[0]


def views(store: Postgres, *events: str, key: str = "k", now: datetime = NOW) -> list[View]:
    """Of each event a view on which one ticket was sold in cart ``c1``."""
    found = []
    for event in events:
        sale = Sell(key, "r", f"{key}-{event}", 1, None, "c1")
        found.append(store.view(event, [sale], now))
        decide_all(found[-1], [sale], now)
    return found


def audits(store: Postgres) -> list[list[Record]]:
    return [list(store.audit(event)[1]) for event in "ab"]


def test_a_cart_is_written_in_all_of_its_events_and_named_in_each(store: Postgres) -> None:
    assert store.append(views(store, "b", "a")) == [None, None]
    for event, [record] in zip("ab", audits(store), strict=True):
        assert (record.cart, record.order, record.tickets) == ("c1", f"k-{event}", (1,))
        assert store.view(event).sold == 1


def test_holds_that_are_due_expire_with_the_cart(store: Postgres) -> None:
    view = store.view("b", now=NOW)
    decide_all(view, [Hold("h", "r", "h1", 5, 1)], NOW)
    store.append([view])
    store.append(views(store, "a", "b", now=NOW + timedelta(seconds=1)))
    assert [[record.kind for record in audit] for audit in audits(store)] == [["sold"], ["held", "expired", "sold"]]
    assert store.next_expiry("b") is None


@pytest.mark.parametrize("events", ["ab", "ba"])
def test_where_one_event_is_gone_nothing_is_written_in_any(store: Postgres, events: str) -> None:
    decided = views(store, *events)
    store.delete("b")
    with pytest.raises(Problem, match="unknown_event"):
        store.append(decided)
    assert list(store.audit("a")[1]) == []


@pytest.mark.parametrize("events", ["ab", "ba"])
@pytest.mark.parametrize("changed", "ab")
def test_where_one_event_changed_since_it_was_read_nothing_is_written_in_any(
    stores: tuple[Postgres, Postgres], events: str, changed: str
) -> None:
    """The control is in the same schedule: without the condition the cart is written over the other sale."""
    store, other = stores
    decided = views(store, *events)
    other.append(views(other, changed, key="other"))
    with pytest.raises(Conflict):
        store.append_if_unchanged(decided)
    assert sorted(len(audit) for audit in audits(store)) == [0, 1]
    store.append(decided)
    assert sorted(len(audit) for audit in audits(store)) == [1, 2]
    assert store.view(changed).sold == 1


def test_an_engine_that_lacks_a_cart_that_was_written_is_refused_in_each_event(store: Postgres) -> None:
    store.append(views(store, "a", "b"))
    with store._transactions.transaction() as connection:
        connection.execute("UPDATE lastseat.events SET appended = 0")
    for event in "ab":
        with pytest.raises(Problem, match="engine_went_back"):
            store.view(event)


# -- the locks of several events --------------------------------------------------------------------------------------


def buying(
    store: Postgres,
    guard: type[EngineLock],
    key: str,
    events: str,
    *,
    within_s: float = FAR_S,
    between: Callable[[], object] = lambda: None,
) -> None:
    """A cart under an engine's lock, taken for each event in the order given; ``between`` the first and the next."""
    deadline = time.monotonic() + within_s
    with ExitStack() as held:
        for place, event in enumerate(events):
            if place:
                between()
            held.enter_context(store.transaction(event, guard.lock, deadline))
        store.append(views(store, *events, key=key))


@pytest.mark.parametrize("guard", LOCKS)
def test_a_cart_holds_the_locks_of_all_of_its_events(
    stores: tuple[Postgres, Postgres], guard: type[EngineLock]
) -> None:
    store, other = stores
    refused = []

    def look(events: Sequence[str]) -> None:
        for event in events:
            with pytest.raises(Problem) as problem, other.transaction(event, guard.lock, time.monotonic() + 0.1):
                pytest.fail(f"{event} was not locked")
            refused.append((event, problem.value.code))

    deadline = time.monotonic() + FAR_S
    with store.transaction("b", guard.lock, deadline), store.transaction("a", guard.lock, deadline):
        look("ab")
    assert refused == [("a", "lock_timeout"), ("b", "lock_timeout")]


def test_a_cart_whose_second_event_is_not_free_in_time_gives_up_definitely(stores: tuple[Postgres, Postgres]) -> None:
    store, other = stores
    with (
        other.transaction("b", RowGuard.lock, time.monotonic() + FAR_S),
        pytest.raises(Problem, match="lock_timeout"),
    ):
        buying(store, RowGuard, "k", "ab", within_s=0.2)
    assert audits(store) == [[], []]
    buying(store, RowGuard, "k", "ab")
    assert [len(audit) for audit in audits(store)] == [1, 1]


@pytest.mark.parametrize("guard", [RowGuard, AdvisoryGuard])
def test_two_carts_that_take_the_locks_the_other_way_round_deadlock_and_the_engine_refuses_one(
    stores: tuple[Postgres, Postgres], guard: type[EngineLock]
) -> None:
    both_have_one = threading.Barrier(2, timeout=FAR_S)

    def told(store: Postgres, events: str) -> str:
        try:
            buying(store, guard, events, events, between=both_have_one.wait)
        except Conflict:
            return "refused"
        return "sold"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(told, stores, ["ab", "ba"]))
    assert sorted(outcomes) == ["refused", "sold"]
    [[in_a], [in_b]] = audits(stores[0])
    assert in_a.key == in_b.key == ["ab", "ba"][outcomes.index("sold")]


def test_locks_taken_in_one_order_do_not_deadlock(stores: tuple[Postgres, Postgres]) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda store, key: buying(store, RowGuard, key, "ab"), stores, "kl"))
    assert [{record.key for record in audit} for audit in audits(stores[0])] == [{"k", "l"}] * 2
