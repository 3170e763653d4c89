"""The rules in an engine's language against the rules themselves: the same commands, the same outcomes and audit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.guards.atomic import AtomicGuard
from service.inventory import Cancel, Command, Event, Outcome, Refusal, Replay, Sell, View, decide_all, records_of
from service.settings import Settings
from service.stores import sqlite_atomic
from service.stores.memory import Memory
from service.stores.sqlite import Sqlite

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)
_serial = itertools.count()

# Few names, so that keys come again, orders are cancelled twice and buyers reach their limit.
keys = st.sampled_from([f"k{number}" for number in range(8)])
orders = st.sampled_from([f"o{number}" for number in range(6)])
requests = st.sampled_from(["r", "r", "r", "other"])
sells = st.builds(Sell, keys, requests, orders, st.integers(1, 4), st.sampled_from([None, "ann", "bob"]))
cancels = st.builds(Cancel, keys, requests, orders)
batches = st.lists(st.lists(st.one_of(sells, sells, cancels), min_size=1, max_size=4), min_size=1, max_size=8)
events = st.builds(
    Event,
    event=st.just("show"),
    name=st.just("Show"),
    capacity=st.integers(1, 9),
    opens_at=st.sampled_from([None, NOW - SECOND, NOW, NOW + timedelta(microseconds=1), NOW + 90 * SECOND]),
    max_per_order=st.integers(1, 4),
    max_per_buyer=st.sampled_from([None, 1, 3, 5]),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


def by_the_rules(event: Event, told: Sequence[Sequence[Command]]) -> tuple[list[Outcome], View]:
    view = View(event)
    return [outcome for commands in told for outcome in decide_all(view, commands, NOW)], view


def by_the_engine(store: Sqlite, event: Event, told: Sequence[Sequence[Command]]) -> tuple[list[Outcome], View, str]:
    name = f"e{next(_serial)}"
    store.create(Event(name, event.name, event.capacity, event.opens_at, event.max_per_order, event.max_per_buyer))
    outcomes: list[Outcome] = []
    for commands in told:
        outcomes += store.commit_atomically(name, commands, NOW, time.monotonic() + 30)[0]
    return outcomes, store.view(name), name


def fresh_orders(told: list[list[Command]]) -> list[list[Command]]:
    """Each sale under an order of its own, as the box office makes them; the first of each name keeps it."""
    seen: set[str] = set()
    for commands in told:
        for place, command in enumerate(commands):
            if isinstance(command, Sell):
                order = command.order if command.order not in seen else f"{command.order}.{next(_serial)}"
                seen.add(command.order)
                commands[place] = Sell(command.key, command.request, order, command.quantity, command.buyer)
    return told


@given(event=events, told=batches.map(fresh_orders))
def test_the_engine_decides_as_the_rules_do(store: Sqlite, event: Event, told: list[list[Command]]) -> None:
    expected, view = by_the_rules(event, told)
    got, stored, name = by_the_engine(store, event, told)
    assert got == expected
    assert list(store.audit(name)[1]) == records_of(expected)
    assert (stored.version, stored.sold, stored.next_ticket) == (view.version, view.sold, view.next_ticket)


WRONG = {
    "no capacity": ("_SELL", "sold + :quantity <= :capacity", "1"),
    "one too many": ("_SELL", "sold + :quantity <= :capacity", "sold + :quantity <= :capacity + 1"),
    "one too few": ("_SELL", "sold + :quantity <= :capacity", "sold + :quantity < :capacity"),
    "no limit an order": ("_SELL", ":quantity <= :max_per_order", "1"),
    "doors open a moment late": ("_SELL", ":now >= :opens_at", ":now > :opens_at"),
    "sold tickets forgotten at the limit": ("_SELL", "+ :quantity <= :max_per_buyer", "<= :max_per_buyer"),
    "a key sells twice": ("_SELL", "WHERE event = :row AND key = :key", "WHERE 0"),
    "a cancelled order is cancelled again": ("_CANCEL", "= 'sold'", "IS NOT NULL"),
    "nothing is given back": ("_CANCEL", "sold = sold - (", "sold = sold - 0 * ("),
    "a key cancels twice": ("_CANCEL", "WHERE event = :row AND key = :key", "WHERE 0"),
}


@pytest.mark.parametrize(("statement", "right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, statement: str, right: str, wrong: str
) -> None:
    """The canary: every condition of the statements left out or shifted by one, and the comparison has to see it."""
    text = getattr(sqlite_atomic, statement)
    assert text.count(right) == 1
    monkeypatch.setattr(sqlite_atomic, statement, text.replace(right, wrong))
    told: list[list[Command]] = [
        [Sell("a", "r", "o1", 2, "ann"), Sell("a", "r", "o2", 1, "ann"), Sell("b", "r", "o3", 4, None)],
        [Cancel("c", "r", "o1"), Cancel("d", "r", "o1"), Cancel("c", "r", "o4"), Sell("e", "r", "o4", 1, "bob")],
        [Cancel("e", "r", "o4"), Sell("f", "r", "o5", 3, "bob"), Sell("g", "r", "o6", 2, "bob")],
        [Sell("h", "r", "o7", 3, None), Sell("i", "r", "o8", 1, None), Sell("j", "r", "o9", 1, None)],
    ]
    event = Event("show", "Show", 7, NOW, max_per_order=3, max_per_buyer=3)
    with suppress(RuntimeError):  # refused where the rules grant it: noticed at run time
        assert by_the_engine(store, event, told)[0] != by_the_rules(event, told)[0]


def test_there_is_a_statement_for_every_command_and_the_guard_looks() -> None:
    assert Sqlite.translates == set(get_args(Command))


def test_the_guard_fits_no_store_that_lacks_a_statement(store: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AtomicGuard.fits(store)
    monkeypatch.setattr(Sqlite, "translates", frozenset({Sell}))
    assert not AtomicGuard.fits(store)
    assert not AtomicGuard.fits(Memory(Settings()))


def test_a_refusal_writes_nothing_and_a_replay_repeats_the_first_answer(store: Sqlite) -> None:
    event = Event("show", "Show", 1)
    sell = Sell("a", "r", "o1", 1)
    (sold, replayed, refused), view, _ = by_the_engine(store, event, [[sell], [sell, Sell("b", "r", "o2", 1)]])
    assert replayed == Replay(sold)  # type: ignore[arg-type]
    assert refused == Refusal("sold_out", 1, 0)
    assert view.version == 1
