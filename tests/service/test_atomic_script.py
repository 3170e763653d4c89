"""The rules in Lua against the rules themselves: the same commands, the same outcomes, audit and counters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from differential import (
    NOW,
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
    named,
)
from hypothesis import given
from servers import settings_of

from service.errors import Problem
from service.guards.atomic import AtomicGuard
from service.rules.inventory import (
    Amend,
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    Sweep,
    View,
)
from service.stores.columns import microseconds
from service.stores.redis import scripts
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers
FAR = 90.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    opened = Redis(settings_of("redis", tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


def _all_of(decided: tuple[list[Outcome], list[Record], View]) -> tuple[object, ...]:
    outcomes, written, view = decided
    return outcomes, written, counters(view)


@given(event=events, told=batches.map(fresh_names))
def test_the_script_decides_as_the_rules_do(store: Redis, event: Event, told: Told) -> None:
    expected = by_the_rules(event, told)
    got = by_the_engine(store, event, told)
    assert _all_of(got) == _all_of(expected)
    # And leaves what a view of it needs: a decision by the rules may come next.
    commands = [command for batch in told for command in batch.commands]
    buyers = {each.buyer for each in commands if isinstance(each, Sell | Hold)}
    view, known = store.view(got[2].event.event, commands), expected[2]
    assert view.keys == {key: record for key, record in known.keys.items() if key}
    assert view.orders.items() <= known.orders.items()
    assert view.holds.items() <= known.holds.items()
    if event.max_per_buyer is not None:
        assert view.bought == {buyer: known.bought.get(buyer, 0) for buyer in buyers if buyer is not None}


WRONG = {
    "no capacity": ("command.quantity > left()", "false"),
    "one too many": ("command.quantity > left()", "command.quantity > left() + 1"),
    "one too few": ("command.quantity > left()", "command.quantity >= left()"),
    "no limit an order": ("command.quantity > per_order", "false"),
    "doors open a moment late": ("now_us < opens", "now_us <= opens"),
    "sold tickets forgotten at the limit": ("has + quantity > per_buyer", "quantity > per_buyer"),
    "this batch forgotten at the limit": ("+ (bought[buyer] or 0)\n", "\n"),
    "the buyer's tickets are not given back": ("(by[1] + by[2]) * quantity", "quantity"),
    "a key sells twice": ("if known then return '= ' .. known end", ""),
    "a key is taken for something else": ("~= command.request", "== 0"),
    "a cancelled order is cancelled again": ("last.kind == 'cancelled'", "false"),
    "nothing is given back": ("cancelled = {-1, 0}", "cancelled = {0, 0}"),
    "a cancellation takes new numbers": ("put_down('cancelled', command, last)",
                                         "put_down('cancelled', command, {quantity = last.quantity})"),
}  # fmt: skip

WRONG_WITH_HOLDS = {
    "held tickets are given away": ("return capacity - sold - held", "return capacity - sold"),
    "a hold is a sale": ("held = {0, 1}", "held = {1, 0}"),
    "a hold over the limit of an order": ("command.quantity > per_order", "false"),
    "held tickets forgotten at the limit": ("has + quantity > per_buyer", "quantity > per_buyer"),
    "a hold is confirmed twice": ("made.stands == 'held' then return", "made.stands ~= 'expired' then return"),
    "a confirmation sells nothing": ("confirmed = {1, -1}", "confirmed = {0, -1}"),
    "a confirmed hold stays open": ("confirmed = {1, -1}", "confirmed = {1, 0}"),
    "late payments are refused": ("made.stands ~= 'expired' then", "true then"),
    "late payments are taken whatever is left": ("made.quantity > left()", "false"),
    "a late payment passes the buyer's limit": ("has_enough(made.buyer, made.quantity)", "false"),
    "a late payment is taken twice": ("made.stands ~= 'expired' then",
                                      "made.stands ~= 'expired' and made.stands ~= 'sold' then"),
    "a late payment gets the old tickets": (
        "put_down('sold', command, {quantity = made.quantity, buyer = made.buyer, seats = made.seats})",
        "put_down('sold', command, made)"),
    "what is confirmed is released": ("made.stands ~= 'held' then", "made.stands == 'released' then"),
    "a released hold keeps its places": ("released = {0, -1}", "released = {0, 0}"),
    "confirmed orders are never cancelled": ("last.kind == 'cancelled'", "last.kind ~= 'sold'"),
    "a replay expires holds": ("local known = line_under", "expire() local known = line_under"),
    "a refusal expires nothing": ("  expire()\n", "  if command.quantity then expire() end\n"),
    "holds are expired again": ("due = {}", ""),
    "holds end a moment late": ("ended_by(now)", "ended_by('(' .. now)"),
    "expired holds keep their places": ("expired = {0, -1}", "expired = {0, 0}"),
    "expired holds have one version": ("version, sold, held = version + 1,",
                                       "version, sold, held = kind == 'expired' and version or version + 1,"),
    "the last to end expires first": ("for _, line in ipairs(due) do",
                                      "for place = #due, 1, -1 do local line = due[place]"),
    "what this batch did to a hold is forgotten": ("if by_hold[hold] then return by_hold[hold] end", ""),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(store: Redis, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """The canary: every condition of the script left out or shifted by one, and the comparison has to see it."""
    _is_noticed(store, monkeypatch, (right, wrong), TELLING_EVENT, [*TELLING, *TELLING_BATCHES])


@pytest.mark.parametrize(("right", "wrong"), WRONG_WITH_HOLDS.values(), ids=WRONG_WITH_HOLDS)
def test_a_wrong_translation_of_a_hold_is_noticed(
    store: Redis, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    _is_noticed(store, monkeypatch, (right, wrong), TELLING_HOLDS_EVENT, [*TELLING_HOLDS, *named(TELLING_REPLAY)])


WRONG_LIMITS = {
    "somebody without a name buys": ("per_buyer and type(command.buyer) ~= 'string'", "false"),
    "a hold is as long as it likes": ("command.seconds > max_hold_s", "false"),
    "the longest hold is too long": ("command.seconds > max_hold_s", "command.seconds >= max_hold_s"),
    "everything is held": ("held + command.quantity > max_held", "false"),
    "one too many is held": ("held + command.quantity > max_held", "held + command.quantity > max_held + 1"),
    "one too few is held": ("held + command.quantity > max_held", "held + command.quantity >= max_held"),
    "what is held is forgotten": ("held + command.quantity > max_held", "command.quantity > max_held"),
    "a sale is limited as a hold is": ("if kind == 'held' and max_held and", "if max_held and"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG_LIMITS.values(), ids=WRONG_LIMITS)
def test_a_wrong_translation_of_a_limit_is_noticed(
    store: Redis, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    _is_noticed(store, monkeypatch, (right, wrong), TELLING_LIMITS_EVENT, TELLING_LIMITS)


TELLING_BATCHES: list[Batch] = [
    Batch(0, [Cancel("z1", "r", "o5"), Cancel("z2", "r", "o4")]),
    Batch(0, [Sell("z3", "r", "p1", 2, "cid"), Sell("z4", "r", "p2", 3, "cid"), Cancel("z5", "r", "p1")]),
    Batch(0, [Sell("z6", "r", "p3", 3, "cid"), Cancel("z7", "r", "p3"), Sell("z8", "r", "p4", 3, "cid")]),
]
"""More of them: the script itself sums up what a buyer has, over what the engine has and what this batch did."""

TELLING_REPLAY: list[Batch] = [
    Batch(3, [Cancel("G", "r", "o6"), Cancel("H", "r", "o9"), Hold("I", "r", "h10", 1, 1)]),
    Batch(9, [Hold("I", "r", "h10", 1, 1)]),
    Batch(3, [Confirm("J", "r", "h10", "o13")]),
]
"""A replay expires nothing: seen where the clock goes back after it and the hold is still open."""


def _is_noticed(
    store: Redis, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], event: Event, told: Told
) -> None:
    right, wrong = change
    expected = _all_of(by_the_rules(event, told))
    assert _all_of(by_the_engine(store, event, told)) == expected
    assert scripts.RULES.count(right) == 1
    monkeypatch.setattr(scripts, "DECIDE", scripts.decide_script(scripts.RULES.replace(right, wrong)))
    assert _all_of(by_the_engine(store, event, told)) != expected


def test_there_is_a_rule_for_every_command_and_the_guard_looks(store: Redis) -> None:
    assert Redis.translates == set(get_args(Command)) - {Amend}
    assert AtomicGuard.fits(store)


def test_what_one_guard_holds_another_one_expires(store: Redis) -> None:
    """Written by the script and seen by a view, and the other way round: one set of open holds."""
    event = Event("by-turns", "Show", 9)
    store.create(event)
    by_script, _ = store.commit_atomically("by-turns", [Hold("a", "r", "h1", 2, 1, "ann")], NOW, time.monotonic() + FAR)
    end = NOW + timedelta(seconds=1)
    assert store.next_expiry("by-turns") == end
    [due] = store.view("by-turns", now=end).due
    assert (due.hold, due.expires_at, due.buyer) == ("h1", end, "ann")
    assert not store.view("by-turns", now=end - timedelta(microseconds=1)).due
    view = store.view("by-turns", [Hold("b", "r", "h2", 1, 1)], NOW)
    record = Record(2, "held", "b", "", 1, (3,), 6, "r", None, "h2", end)
    view.apply(record)
    view.fresh.append(record)
    store.append([view])
    store.commit_atomically("by-turns", [Sweep()], end, time.monotonic() + FAR)
    written = list(store.audit("by-turns")[1])
    assert written[:2] == [*by_script, record]
    assert [(each.version, each.kind, each.hold) for each in written[2:]] == [
        (3, "expired", "h1"),
        (4, "expired", "h2"),
    ]
    assert store.next_expiry("by-turns") is None


def test_holds_of_one_instant_expire_by_their_version_and_not_by_how_it_is_spelled(store: Redis) -> None:
    """Nine comes before ten."""
    commands: list[Command] = [Hold(f"k{number}", "r", f"h{number}", 1, 1) for number in range(12)]
    told = [Batch(0, commands), Batch(1, [Sweep()])]
    event = Event("show", "Show", 20)
    assert _all_of(by_the_engine(store, event, told)) == _all_of(by_the_rules(event, told))


def test_an_instant_keeps_its_microseconds(store: Redis) -> None:
    """Lua writes 14 digits of a number, and an instant has 16: it is never a number where it is written."""
    now = NOW + timedelta(microseconds=123_457)
    store.create(Event("exact", "Show", 9))
    [held], _ = store.commit_atomically("exact", [Hold("a", "r", "h", 1, 0.000001)], now, time.monotonic() + FAR)
    assert isinstance(held, Record)
    assert held.expires_at == now + timedelta(microseconds=1) == store.next_expiry("exact")
    assert len(str(microseconds(held.expires_at))) == 16
    assert not store.view("exact", now=now).due
    assert [each.hold for each in store.view("exact", now=held.expires_at).due] == ["h"]


AWKWARD = ['"', "\\", "\n", "{}", "/", "ä 🎫", "'", "\x7f", "null", "0", "a b", "", "\u2028", "\x00"]


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_any_text_goes_through_a_script_and_comes_back_as_it_was(store: Redis, text: str) -> None:
    told = [
        Batch(0, [Sell(f"k{text}", f"r{text}", f"o{text}", 1, text), Sell(f"k{text}", f"r{text}", "other", 1, text)]),
        Batch(0, [Cancel(f"c{text}", text, f"o{text}"), Cancel(f"c{text}", text, f"o{text}")]),
        Batch(0, [Hold(f"h{text}", text, f"h{text}", 2, 1, text), Hold(f"i{text}", text, f"i{text}", 1, 2, text)]),
        Batch(1, [Confirm(f"l{text}", text, f"h{text}", f"p{text}"), Release(f"m{text}", text, f"i{text}")]),
    ]
    event = Event("show", f"Show {text}", 5, max_per_buyer=3)
    assert _all_of(by_the_engine(store, event, told)) == _all_of(by_the_rules(event, told))


def test_a_batch_larger_than_luas_stack_is_decided_whole(store: Redis) -> None:
    commands: list[Command] = [Sell(f"k{number}", "r", f"o{number}", 1) for number in range(10_000)]
    event, told = Event("show", "Show", 9_990), [Batch(0, commands)]
    assert _all_of(by_the_engine(store, event, told)) == _all_of(by_the_rules(event, told))


def test_more_holds_than_luas_stack_expire_together(store: Redis) -> None:
    commands: list[Command] = [Hold(f"k{number}", "r", f"h{number}", 1, 1) for number in range(10_000)]
    event, told = Event("show", "Show", 10_000), [Batch(0, commands), Batch(1, [Sell("k", "r", "o", 1)])]
    assert _all_of(by_the_engine(store, event, told)) == _all_of(by_the_rules(event, told))


def test_numbers_stay_whole_up_to_the_largest_event(store: Redis) -> None:
    event = Event("show", "Show", 10_000_000, max_per_order=10_000_000, max_per_buyer=10_000_000)
    told = [Batch(0, [Sell("a", "r", "o1", 9_999_999, "ann")]), Batch(0, [Hold("b", "r", "h1", 1, 9, "bob")])]
    got, _, stored = by_the_engine(store, event, told)
    assert [outcome.remaining for outcome in got if not hasattr(outcome, "record")] == [1, 0]
    assert stored.next_ticket == 10_000_001


def test_a_damaged_engine_writes_nothing_of_the_batch(store: Redis) -> None:
    """A key that leads to a record which is not there: noticed before the first write of the whole list."""
    name = by_the_engine(store, Event("show", "Show", 9), [Batch(0, [Sell("a", "r", "o1", 1)])])[2].event.event
    store._engine.ask("XDEL", store._key("event", name, "records"), "1-0", writes=True)
    with pytest.raises(Problem, match="corrupt_document"):
        store.commit_atomically(name, [Sell("b", "r", "o2", 1), Sell("a", "r", "o1", 1)], NOW, time.monotonic() + FAR)
    assert store._engine.ask("HGET", store._key("event", name), "sold") == b"1"


def test_the_directory_of_this_test_is_not_that_of_another(tmp_path: Path, store: Redis) -> None:
    assert Redis(settings_of("redis", tmp_path)).names() == []
