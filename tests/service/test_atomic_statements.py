"""The rules in an engine's language against the rules themselves: the same commands, the same outcomes and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

import pytest
from differential import (
    TELLING,
    TELLING_EVENT,
    TELLING_HOLDS,
    TELLING_HOLDS_EVENT,
    TELLING_LIMITS,
    TELLING_LIMITS_EVENT,
    Batch,
    Told,
    batches,
    by_the_engine,
    by_the_rules,
    counters,
    events,
    fresh_names,
)
from hypothesis import given

from service.guards.atomic import AtomicGuard
from service.rules.inventory import Amend, Command, Event, Outcome, Record, Refusal, Replay, Sell, View
from service.settings import Settings
from service.stores.memory import Memory
from service.stores.sqlite import atomic
from service.stores.sqlite.store import Sqlite


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    opened = Sqlite(Settings(data=tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


@given(event=events, told=batches.map(fresh_names))
def test_the_engine_decides_as_the_rules_do(store: Sqlite, event: Event, told: Told) -> None:
    assert _all_of(by_the_engine(store, event, told)) == _all_of(by_the_rules(event, told))


WRONG = {
    "no capacity": ("_SELL", "AND sold + held + :quantity <= :capacity", ""),
    "one too many": ("_SELL", "+ :quantity <= :capacity", "+ :quantity <= :capacity + 1"),
    "one too few": ("_SELL", "+ :quantity <= :capacity", "+ :quantity < :capacity"),
    "no limit an order": ("_SELL", ":quantity <= :max_per_order", "1"),
    "doors open a moment late": ("_SELL", ":now >= :opens_at", ":now > :opens_at"),
    "sold tickets forgotten at the limit": ("_SELL", "+ :quantity <= :max_per_buyer", "<= :max_per_buyer"),
    "a key sells twice": ("_SELL", "WHERE event = :row AND key = :key", "WHERE 0"),
    "a cancelled order is cancelled again": ("_CANCEL", "IN ('sold', 'confirmed')", "IS NOT NULL"),
    "nothing is given back": ("_CANCEL", "sold = sold - (", "sold = sold - 0 * ("),
    "a key cancels twice": ("_CANCEL", "WHERE event = :row AND key = :key", "WHERE 0"),
}

WRONG_WITH_HOLDS = {
    "held tickets are sold": ("_SELL", "sold + held + :quantity <=", "sold + :quantity <="),
    "held tickets are held again": ("_HOLD", "sold + held + :quantity <=", "sold + :quantity <="),
    "a hold is a sale": ("_HOLD", "held = held + :quantity", "sold = sold + :quantity"),
    "a hold over the limit of an order": ("_HOLD", ":quantity <= :max_per_order", "1"),
    "held tickets forgotten at the limit": ("_HOLD", "+ :quantity <= :max_per_buyer", "<= :max_per_buyer"),
    "a key holds twice": ("_HOLD", "WHERE event = :row AND key = :key", "WHERE 0"),
    "a hold is confirmed twice": ("_CONFIRM", "= 'held'", "IS NOT NULL"),
    "a confirmation sells nothing": ("_CONFIRM", "sold = sold + :quantity", "sold = sold"),
    "a key confirms twice": ("_CONFIRM", "WHERE event = :row AND key = :key", "WHERE 0"),
    "late payments are refused": ("_SELL_LATE", "= 'expired'", "= 'held'"),
    "late payments are taken whatever is left": ("_SELL_LATE", "AND sold + held + :quantity <= :capacity", ""),
    "a late payment passes the buyer's limit": ("_SELL_LATE", "+ :quantity <= :max_per_buyer", "<= :max_per_buyer"),
    "a late payment is taken twice": ("_SELL_LATE", "= 'expired'", "IN ('expired', 'sold')"),
    "a key is taken for a late payment": ("_SELL_LATE", "WHERE event = :row AND key = :key", "WHERE 0"),
    "a key releases another hold": ("_RELEASE", "WHERE event = :row AND key = :key", "WHERE 0"),
    "what is confirmed is released": ("_RELEASE", "= 'held'", "IN ('held', 'confirmed')"),
    "a released hold keeps its places": ("_RELEASE", "held = held - :quantity", "held = held"),
    "confirmed orders are never cancelled": ("_CANCEL", "IN ('sold', 'confirmed')", "= 'sold'"),
    "a replay expires holds": ("_EXPIRE", "NOT EXISTS (SELECT 1 FROM records WHERE event = :row AND key = :key", "(1"),
    "holds end a moment late": ("_EXPIRE", "expires_at <= :now", "expires_at < :now"),
    "expired holds keep their places": ("_COUNT_EXPIRED", "held = held - (", "held = held - 0 * ("),
    "expired holds have one version": ("_COUNT_EXPIRED", "(SELECT count(*)", "(SELECT count(*) > 0"),
    "the last to end expires first": ("_EXPIRE", "(ORDER BY due.expires_at,", "(ORDER BY due.expires_at DESC,"),
}


@pytest.mark.parametrize(("statement", "right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, statement: str, right: str, wrong: str
) -> None:
    """The canary: every condition of the statements left out or shifted by one, and the comparison has to see it."""
    _is_noticed(store, monkeypatch, (statement, right, wrong), TELLING_EVENT, TELLING)


@pytest.mark.parametrize(("statement", "right", "wrong"), WRONG_WITH_HOLDS.values(), ids=WRONG_WITH_HOLDS)
def test_a_wrong_translation_of_a_hold_is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, statement: str, right: str, wrong: str
) -> None:
    _is_noticed(store, monkeypatch, (statement, right, wrong), TELLING_HOLDS_EVENT, TELLING_HOLDS)


WRONG_LIMITS = {
    "somebody without a name buys": ("_SELL", "OR :buyer IS NOT NULL", "OR 1"),
    "somebody without a name holds": ("_HOLD", "OR :buyer IS NOT NULL", "OR 1"),
    "a hold is as long as it likes": ("_HOLD", ":seconds <= :max_hold_s", "1"),
    "the longest hold is too long": ("_HOLD", ":seconds <= :max_hold_s", ":seconds < :max_hold_s"),
    "everything is held": ("_HOLD", "held + :quantity <= :max_held", "1"),
    "one too many is held": ("_HOLD", "held + :quantity <= :max_held", "held + :quantity <= :max_held + 1"),
    "one too few is held": ("_HOLD", "held + :quantity <= :max_held", "held + :quantity < :max_held"),
    "what is held is forgotten": ("_HOLD", "held + :quantity <= :max_held", ":quantity <= :max_held"),
}


@pytest.mark.parametrize(("statement", "right", "wrong"), WRONG_LIMITS.values(), ids=WRONG_LIMITS)
def test_a_wrong_translation_of_a_limit_is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, statement: str, right: str, wrong: str
) -> None:
    _is_noticed(store, monkeypatch, (statement, right, wrong), TELLING_LIMITS_EVENT, TELLING_LIMITS)


def _is_noticed(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str, str], event: Event, told: Told
) -> None:
    statement, right, wrong = change
    expected = _all_of(by_the_rules(event, told))
    assert _all_of(by_the_engine(store, event, told)) == expected
    text = getattr(atomic, statement)
    assert text.count(right) == 1
    monkeypatch.setattr(atomic, statement, text.replace(right, wrong))
    with suppress(RuntimeError):  # refused where the rules grant it: noticed at run time
        assert _all_of(by_the_engine(store, event, told)) != expected


def _all_of(decided: tuple[list[Outcome], list[Record], View]) -> tuple[object, ...]:
    outcomes, written, view = decided
    return outcomes, written, counters(view)


def test_there_is_a_statement_for_every_command_and_the_guard_looks() -> None:
    assert Sqlite.translates == set(get_args(Command)) - {Amend}


def test_the_guard_fits_no_store_that_lacks_a_statement(store: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AtomicGuard.fits(store)
    monkeypatch.setattr(Sqlite, "translates", frozenset({Sell}))
    assert not AtomicGuard.fits(store)
    assert not AtomicGuard.fits(Memory(Settings()))


def test_a_refusal_writes_nothing_and_a_replay_repeats_the_first_answer(store: Sqlite) -> None:
    event = Event("show", "Show", 1)
    sell = Sell("a", "r", "o1", 1)
    told = [Batch(0, [sell]), Batch(0, [sell, Sell("b", "r", "o2", 1)])]
    (sold, replayed, refused), _, view = by_the_engine(store, event, told)
    assert replayed == Replay(sold)  # type: ignore[arg-type]
    assert refused == Refusal("sold_out", 1, 0)
    assert view.version == 1
