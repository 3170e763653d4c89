"""The rules in Lua against the rules themselves: the same commands, the same outcomes, audit and counters."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest
from differential import NOW, batches, by_the_rules, events, fresh_orders
from hypothesis import given
from servers import settings_of

from service.errors import Problem
from service.inventory import Cancel, Command, Event, Outcome, Sell, View, records_of
from service.stores import redis_scripts as scripts
from service.stores.redis import Redis

pytestmark = pytest.mark.servers
_serial = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    opened = Redis(settings_of("redis", tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


def by_the_engine(store: Redis, event: Event, told: Sequence[Sequence[Command]]) -> tuple[list[Outcome], View, str]:
    name = f"e{next(_serial)}"
    store.create(Event(name, event.name, event.capacity, event.opens_at, event.max_per_order, event.max_per_buyer))
    outcomes: list[Outcome] = []
    for commands in told:
        outcomes += store.commit_atomically(name, commands, NOW, time.monotonic() + 30)[0]
    return outcomes, store.view(name, [command for commands in told for command in commands]), name


@given(event=events, told=batches.map(fresh_orders))
def test_the_script_decides_as_the_rules_do(store: Redis, event: Event, told: list[list[Command]]) -> None:
    expected, view = by_the_rules(event, told)
    got, stored, name = by_the_engine(store, event, told)
    assert got == expected
    assert list(store.audit(name)[1]) == records_of(expected)
    assert (stored.version, stored.sold, stored.next_ticket) == (view.version, view.sold, view.next_ticket)
    assert stored.keys == view.keys
    cancelled = {command.order for commands in told for command in commands if isinstance(command, Cancel)}
    assert stored.orders == {name: order for name, order in view.orders.items() if name in cancelled}
    assert {buyer: sum_ for buyer, sum_ in stored.bought.items() if sum_} == {
        buyer: sum_ for buyer, sum_ in view.bought.items() if sum_
    }


WRONG = {
    "no capacity": ("SELL", "quantity > capacity - sold", "false"),
    "one too many": ("SELL", "quantity > capacity - sold", "quantity > capacity - sold + 1"),
    "one too few": ("SELL", "quantity > capacity - sold", "quantity >= capacity - sold"),
    "no limit an order": ("SELL", "quantity > per_order", "false"),
    "doors open a moment late": ("SELL", "now < opens", "now <= opens"),
    "sold tickets forgotten at the limit": ("SELL", "has + quantity > per_buyer", "quantity > per_buyer"),
    "this batch forgotten at the limit": ("SELL", "+ (bought[buyer] or 0)", ""),
    "a cancelled order is cancelled again": ("CANCEL", "order.kind ~= 'sold'", "false"),
    "nothing is given back": ("CANCEL", "sold - order.quantity", "sold"),
    "the buyer's tickets are not given back": ("CANCEL", "-order.quantity", "0"),
}


@pytest.mark.parametrize(("part", "right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(
    store: Redis, monkeypatch: pytest.MonkeyPatch, part: str, right: str, wrong: str
) -> None:
    """The canary: every condition of the script left out or shifted by one, and the comparison has to see it."""
    text = getattr(scripts, part)
    assert text.count(right) == 1
    monkeypatch.setattr(scripts, "DECIDE", scripts.decide_script(**{part.lower(): text.replace(right, wrong)}))
    told: list[list[Command]] = [
        [Sell("a", "r", "o1", 2, "ann"), Sell("a", "r", "o2", 1, "ann"), Sell("b", "r", "o3", 4, None)],
        [Sell("p", "r", "oa", 1, "cid"), Sell("q", "r", "ob", 3, "cid"), Cancel("s", "r", "oa")],
        [Cancel("c", "r", "o1"), Cancel("d", "r", "o1"), Cancel("c", "r", "o4"), Sell("e", "r", "o4", 1, "bob")],
        [Cancel("e", "r", "o4"), Sell("f", "r", "o5", 3, "bob"), Sell("g", "r", "o6", 2, "bob")],
        [Sell("t", "r", "oc", 2, "ann"), Cancel("u", "r", "oc"), Sell("v", "r", "od", 3, "ann")],
        [Cancel("w", "r", "od"), Sell("h", "r", "o7", 3, None), Sell("i", "r", "o8", 1, None)],
        [Sell("j", "r", "o9", 1, None), Sell("k", "r", "oe", 2, None)],
    ]
    event = Event("show", "Show", 7, NOW, max_per_order=3, max_per_buyer=3)
    assert by_the_engine(store, event, told)[0] != by_the_rules(event, told)[0]


def test_there_is_a_rule_for_every_command() -> None:
    assert Redis.translates == set(get_args(Command))


AWKWARD = ['"', "\\", "\n", "{}", "/", "ä 🎫", "'", "\x7f", "null", "0", "a b", "", "\u2028", "\x00"]


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_any_text_goes_through_a_script_and_comes_back_as_it_was(store: Redis, text: str) -> None:
    told: list[list[Command]] = [
        [Sell(f"k{text}", f"r{text}", f"o{text}", 1, text), Sell(f"k{text}", f"r{text}", "other", 1, text)],
        [Cancel(f"c{text}", text, f"o{text}"), Cancel(f"c{text}", text, f"o{text}")],
    ]
    event = Event("show", f"Show {text}", 5, max_per_buyer=3)
    expected, _ = by_the_rules(event, told)
    got, _, name = by_the_engine(store, event, told)
    assert got == expected
    assert list(store.audit(name)[1]) == records_of(expected)


def test_a_batch_larger_than_luas_stack_is_decided_whole(store: Redis) -> None:
    commands = [Sell(f"k{number}", "r", f"o{number}", 1) for number in range(10_000)]
    event = Event("show", "Show", 9_990)
    expected, _ = by_the_rules(event, [commands])
    got, _, name = by_the_engine(store, event, [commands])
    assert got == expected
    assert list(store.audit(name)[1]) == records_of(expected)


def test_numbers_stay_whole_up_to_the_largest_event(store: Redis) -> None:
    event = Event("show", "Show", 10_000_000, max_per_order=10_000_000, max_per_buyer=10_000_000)
    told: list[list[Command]] = [[Sell("a", "r", "o1", 9_999_999, "ann")], [Sell("b", "r", "o2", 1, None)]]
    got, stored, _ = by_the_engine(store, event, told)
    assert [outcome.remaining for outcome in got if not hasattr(outcome, "record")] == [1, 0]
    assert stored.next_ticket == 10_000_001


def test_a_damaged_engine_writes_nothing_of_the_batch(store: Redis) -> None:
    """A key that leads to a record which is not there: noticed before the first write of the whole list."""
    name = by_the_engine(store, Event("show", "Show", 9), [[Sell("a", "r", "o1", 1)]])[2]
    store._engine.ask("XDEL", store._key("event", name, "records"), "1-0", writes=True)
    with pytest.raises(Problem, match="corrupt_document"):
        store.commit_atomically(name, [Sell("b", "r", "o2", 1), Sell("a", "r", "o1", 1)], NOW, time.monotonic() + 30)
    assert store._engine.ask("HGET", store._key("event", name), "sold") == b"1"


def test_the_directory_of_this_test_is_not_that_of_another(tmp_path: Path, store: Redis) -> None:
    assert Redis(settings_of("redis", tmp_path)).names() == []
