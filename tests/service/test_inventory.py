"""The rules alone: whatever is asked in whatever order, what must hold holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.rules.inventory import (
    Cancel,
    Command,
    Event,
    Record,
    Refusal,
    Replay,
    Sell,
    View,
    decide,
    decide_all,
    replay,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def sell(
    key: str, quantity: int = 1, *, request: str = "r", order: str | None = None, buyer: str | None = None
) -> Sell:
    return Sell(key, request, order or f"o-{key}", quantity, buyer)


commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(sell, st.sampled_from("abcdefgh"), st.integers(1, 6)),
    st.builds(Cancel, st.sampled_from("ABCD"), st.just("r"), st.sampled_from([f"o-{key}" for key in "abcdefgh"])),
)


@given(st.integers(1, 20), st.lists(commands, max_size=40))
def test_never_more_tickets_than_seats_and_no_number_twice(capacity: int, wanted: list[Command]) -> None:
    view = View(Event("show", "Show", capacity))
    given_out: list[int] = []
    for command in wanted:
        before = view.version
        [outcome] = decide_all(view, [command], NOW)
        assert 0 <= view.sold <= capacity
        assert view.version == before + isinstance(outcome, Record)
        if isinstance(outcome, Record):
            assert outcome.version == view.version
            assert outcome.remaining == view.remaining
            if outcome.kind == "sold":
                given_out += outcome.tickets
    assert given_out == list(range(1, len(given_out) + 1))


@given(st.integers(1, 20), st.lists(commands, max_size=40))
def test_replaying_the_records_gives_the_same_view(capacity: int, wanted: list[Command]) -> None:
    view = View(Event("show", "Show", capacity))
    outcomes = decide_all(view, wanted, NOW)
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    assert replay(view.event, records) == view


@given(st.lists(commands, max_size=30))
def test_a_list_is_decided_as_its_commands_one_by_one(wanted: list[Command]) -> None:
    together, alone = View(Event("show", "Show", 9)), View(Event("show", "Show", 9))
    assert decide_all(together, wanted, NOW) == [decide_all(alone, [command], NOW)[0] for command in wanted]


@given(st.lists(commands, max_size=30))
def test_sold_out_is_only_said_when_there_are_too_few(wanted: list[Command]) -> None:
    view = View(Event("show", "Show", 7))
    for command in wanted:
        remaining = view.remaining
        [outcome] = decide_all(view, [command], NOW)
        if isinstance(outcome, Refusal) and outcome.code == "sold_out":
            assert isinstance(command, Sell)
            assert command.quantity > remaining


def test_the_same_key_gives_the_first_answer_again() -> None:
    view = View(Event("show", "Show", 5))
    first, again = decide_all(view, [sell("k"), sell("k", order="another")], NOW)
    assert again == Replay(first) if isinstance(first, Record) else False
    assert view.sold == 1


def test_the_same_key_for_another_request_is_refused() -> None:
    view = View(Event("show", "Show", 5))
    _, again = decide_all(view, [sell("k"), sell("k", 2, request="other")], NOW)
    assert isinstance(again, Refusal)
    assert again.code == "key_reused"


def test_a_refusal_is_decided_anew() -> None:
    view = View(Event("show", "Show", 1))
    outcomes = decide_all(view, [sell("a"), sell("b"), Cancel("c", "r", "o-a"), sell("b")], NOW)
    assert isinstance(outcomes[1], Refusal)
    assert isinstance(outcomes[3], Record)


def test_cancelled_places_are_sold_again_under_new_numbers() -> None:
    view = View(Event("show", "Show", 2))
    outcomes = decide_all(view, [sell("a", 2), Cancel("c", "r", "o-a"), sell("b", 2)], NOW)
    last = outcomes[-1]
    assert isinstance(last, Record)
    assert last.tickets == (3, 4)


def test_an_order_is_cancelled_once() -> None:
    view = View(Event("show", "Show", 2))
    outcomes = decide_all(view, [sell("a"), Cancel("c", "r", "o-a"), Cancel("d", "r", "o-a")], NOW)
    assert isinstance(outcomes[2], Refusal)
    assert outcomes[2].code == "not_open"


def test_before_the_doors_open_nothing_is_sold_and_the_wait_is_told() -> None:
    event = Event("show", "Show", 2, opens_at=NOW + timedelta(seconds=90))
    refused = decide(View(event), sell("a"), NOW)
    assert refused == Refusal("doors_closed", 0, 2, retry_after_s=90)
    assert isinstance(decide(View(event), sell("a"), NOW + timedelta(seconds=90)), Record)


def test_a_buyer_has_at_most_so_many_and_gets_places_back_by_cancelling() -> None:
    view = View(Event("show", "Show", 9, max_per_buyer=3))
    wanted = [
        sell("a", 2, buyer="ann"),
        sell("b", 2, buyer="ann"),
        sell("c", 2, buyer="bob"),
        Cancel("d", "r", "o-a"),
        sell("e", 3, buyer="ann"),
    ]
    kinds = [outcome.code if isinstance(outcome, Refusal) else "ok" for outcome in decide_all(view, wanted, NOW)]
    assert kinds == ["ok", "buyer_limit", "ok", "ok", "ok"]


def test_no_order_has_more_than_the_event_allows() -> None:
    refused = decide(View(Event("show", "Show", 99, max_per_order=4)), sell("a", 5), NOW)
    assert isinstance(refused, Refusal)
    assert refused.code == "over_limit"
