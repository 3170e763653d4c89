"""The rules in an engine's language against the rules themselves: the same commands, the same outcomes and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

import pytest
from differential import TELLING, TELLING_EVENT, batches, by_the_engine, by_the_rules, events, fresh_orders
from hypothesis import given

from service.guards.atomic import AtomicGuard
from service.inventory import Command, Event, Refusal, Replay, Sell, records_of
from service.settings import Settings
from service.stores import sqlite_atomic
from service.stores.memory import Memory
from service.stores.sqlite import Sqlite


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


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
    with suppress(RuntimeError):  # refused where the rules grant it: noticed at run time
        assert by_the_engine(store, TELLING_EVENT, TELLING)[0] != by_the_rules(TELLING_EVENT, TELLING)[0]


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
