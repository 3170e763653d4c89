"""Halls and seats by the rules alone: which seats there are, which are the best, and who may have which."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rules.halls import FREE, HELD, MOST_SEATS, SOLD, Hall, Plan, Row, Section, packed, row_names, unpacked
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Refusal,
    Release,
    Sell,
    View,
    Wish,
    decide_all,
    due_at,
    replay,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def hall_of(*sections: tuple[str, list[int]]) -> Hall:
    """A hall whose sections have rows A, B, … of these lengths."""
    return Hall(
        Plan(
            tuple(
                Section(name, tuple(Row(row, seats) for row, seats in zip(row_names(len(rows)), rows, strict=True)))
                for name, rows in sections
            )
        )
    )


SMALL = hall_of(("stalls", [5, 4]), ("box", [2]))
names = st.text("ab-", min_size=1, max_size=3)
plans = st.lists(
    st.builds(
        lambda name, rows: Section(name, tuple(Row(*row) for row in rows)),
        names,
        st.lists(st.tuples(names, st.integers(1, 12)), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=3,
).map(lambda sections: Plan(tuple(sections)))


@given(plans)
def test_every_seat_has_an_id_of_its_own_and_is_found_by_it(plan: Plan) -> None:
    try:
        hall = Hall(plan)
    except ValueError:
        rows = [f"{section.name}-{row.name}" for section in plan.sections for row in section.rows]
        sections = [section.name for section in plan.sections]
        assert len(set(rows)) < len(rows) or len(set(sections)) < len(sections)
        return
    ids = [hall.seat(index) for index in range(hall.size)]
    assert len(set(ids)) == hall.size == sum(row.seats for section in plan.sections for row in section.rows)
    assert [hall.index(each) for each in ids] == list(range(hall.size))


def test_two_rows_whose_seats_would_have_the_same_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="a-b-c-1"):
        Hall(Plan((Section("a", (Row("b-c", 1),)), Section("a-b", (Row("c", 1),)))))


@pytest.mark.parametrize("plan", [(), (Section("a", ()),), (Section("a", (Row("A", 0),)),)])
def test_a_hall_without_seats_is_refused(plan: tuple[Section, ...]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Hall(Plan(plan))


def test_a_hall_has_a_bound() -> None:
    assert hall_of(("a", [MOST_SEATS])).size == MOST_SEATS
    with pytest.raises(ValueError, match=str(MOST_SEATS)):
        hall_of(("a", [MOST_SEATS, 1]))


NO_SEATS = (
    "stalls-A-0", "stalls-A-6", "stalls-A-01", "stalls-A-+1", "stalls-A-\u0661", "stalls-A", "A-1",
    "stalls-A-", "", "-", "stalls-A-99999999999999999999",
)  # fmt: skip


@pytest.mark.parametrize("name", NO_SEATS)
def test_there_is_no_seat_of_another_name(name: str) -> None:
    assert SMALL.index(name) is None


def test_rows_have_the_names_that_people_expect() -> None:
    found = list(row_names(703))
    assert (found[0], found[25], found[26], found[27], found[701], found[702]) == ("A", "Z", "AA", "AB", "ZZ", "AAA")


@given(st.binary(max_size=50).map(lambda content: bytes(each % 3 for each in content)))
def test_packed_states_are_unpacked_again(states: bytes) -> None:
    content = packed(states)
    assert len(content) == -(-len(states) // 4)
    assert unpacked(content)[: len(states)] == states


# -- the best, by looking at all ---------------------------------------------------------------------------------------


def by_looking(hall: Hall, states: bytes, quantity: int, section: str, *, together: bool) -> list[int] | None:
    """The best seats, found by ranking every choice."""
    rows, index = list[list[int]](), 0
    for part in hall.plan.sections:
        for row in part.rows:
            if section in ("", part.name):
                rows.append(list(range(index, index + row.seats)))
            index += row.seats
    width = quantity if together else 1
    choices = []
    for number, numbers in enumerate(rows):
        middle = (len(numbers) - 1) / 2
        for first in range(len(numbers) - width + 1):
            seats = numbers[first : first + width]
            if not any(states[seat] for seat in seats):
                choices.append((number, abs(first + (width - 1) / 2 - middle), first, seats))
    needed = quantity // width
    best = sorted(choices)[:needed]
    return sorted(seat for *_, seats in best for seat in seats) if len(best) == needed else None


halls = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3).map(
    lambda sections: hall_of(*((f"s{number}", rows) for number, rows in enumerate(sections)))
)


@given(halls, st.data())
def test_the_best_seats_are_those_that_looking_at_all_finds(hall: Hall, data: st.DataObject) -> None:
    states = data.draw(
        st.lists(st.sampled_from([FREE, FREE, HELD, SOLD]), min_size=hall.size, max_size=hall.size).map(bytes)
    )
    quantity = data.draw(st.integers(1, 6))
    section = data.draw(st.sampled_from(["", *(each.name for each in hall.plan.sections)]))
    together = data.draw(st.booleans())
    expected = by_looking(hall, states, quantity, section, together=together)
    assert hall.best(states, quantity, section, together=together) == expected


# -- decisions ---------------------------------------------------------------------------------------------------------

ids = [f"n{number}" for number in range(5)]
ONE = [SMALL.seat(index) for index in range(SMALL.size)]
named = st.lists(st.sampled_from(ONE), min_size=1, max_size=3, unique=True).map(lambda wanted: Wish(tuple(wanted)))
best = st.builds(Wish, st.just(()), st.sampled_from(["", "stalls", "box"]), st.booleans())
wishes = st.tuples(named | best, st.integers(1, 4)).map(lambda pair: (pair[0], len(pair[0].seats) or pair[1]))
sells = wishes.map(lambda wanted: Sell("", "r", "", wanted[1], wish=wanted[0]))
holds = wishes.map(lambda wanted: Hold("", "r", "", wanted[1], 2.0, wish=wanted[0]))
confirms = st.builds(Confirm, st.just(""), st.just("r"), st.sampled_from(ids), st.just(""))
commands: st.SearchStrategy[Command] = st.one_of(
    sells,
    holds,
    confirms,
    st.builds(Cancel, st.just(""), st.just("r"), st.sampled_from(ids)),
    st.builds(Release, st.just(""), st.just("r"), st.sampled_from(ids)),
)
stories = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.0]), commands), max_size=40)


def new_event(hall: Hall = SMALL, **more: object) -> View:
    about = Event("show", "Show", hall.size, hall=hall.name, born="b", max_per_order=4, **more)  # type: ignore[arg-type]
    return View(about, hall=hall, seats=bytearray(hall.size))


class Told(NamedTuple):
    """One command: the seats that were taken before it, what came of it, and the view after it."""

    taken: frozenset[str]
    command: Command
    outcome: Outcome
    view: View


def tell(story: list[tuple[float, Command]]) -> Iterator[Told]:
    """Each command under a key and an id of its own, so much later than the one before; and who has which seat,
    reckoned from the outcomes alone."""
    view, now, owners = new_event(), NOW, dict[str, str]()
    for number, (later_s, command) in enumerate(story):
        now += timedelta(seconds=later_s)
        new = {"key": f"k{number}"} | {
            name: f"n{number}" for name in ("order", "hold") if getattr(command, name, 1) == ""
        }
        mine = msgspec.structs.replace(command, **new)
        view.due = due_at(view.holds.values(), now)
        gone = {each.hold for each in view.due}
        owners = {seat: owner for seat, owner in owners.items() if owner not in gone}
        taken = frozenset(owners)
        [outcome] = decide_all(view, [mine], now)
        if isinstance(outcome, Record):
            owner = outcome.order or outcome.hold
            if outcome.kind in ("cancelled", "released"):
                assert {seat for seat, whose in owners.items() if whose == owner} == set(outcome.seats)
                owners = {seat: whose for seat, whose in owners.items() if whose != owner}
            else:
                before = {owners.get(seat) for seat in outcome.seats}
                assert before == ({outcome.hold} if outcome.kind == "confirmed" else {None})
                owners |= dict.fromkeys(outcome.seats, owner)
        assert view.sold + view.held == len(owners) == SMALL.size - view.seats.count(FREE)
        yield Told(taken, mine, outcome, view)


@given(stories)
def test_a_seat_belongs_to_one_open_order_or_hold(story: list[tuple[float, Command]]) -> None:
    for told in tell(story):  # which compares the owners
        if isinstance(told.outcome, Record):
            seats = told.outcome.seats
            assert len(set(seats)) == len(seats) == told.outcome.quantity == len(told.outcome.tickets)


@given(stories)
def test_who_gets_seats_gets_those_wanted_or_the_best(story: list[tuple[float, Command]]) -> None:
    for taken, command, outcome, _ in tell(story):
        if isinstance(command, Sell | Hold) and isinstance(outcome, Record):
            wish, states = command.wish, bytes(each in taken for each in ONE)
            best = by_looking(SMALL, states, command.quantity, wish.section, together=wish.together)
            assert list(outcome.seats) == (list(wish.seats) or [SMALL.seat(index) for index in best or []])


@given(stories)
def test_every_refusal_of_seats_has_its_reason(story: list[tuple[float, Command]]) -> None:
    for taken, command, outcome, view in tell(story):
        if not isinstance(outcome, Refusal):
            continue
        if isinstance(command, Confirm):
            if outcome.code == "hold_expired":
                assert taken & set(view.holds[command.hold].seats)
        elif isinstance(command, Sell | Hold):
            check_reason(taken, command.wish, command.quantity, outcome)


def check_reason(taken: frozenset[str], wish: Wish, quantity: int, refusal: Refusal) -> None:
    rows = [row.seats for part in SMALL.plan.sections if wish.section in ("", part.name) for row in part.rows]
    free = sum(each not in taken and each.startswith(wish.section) for each in ONE)
    match refusal.code:
        case "seat_taken":
            assert refusal.seats == tuple(seat for seat in wish.seats if seat in taken) != ()
        case "sold_out" | "section_sold_out":
            assert free < quantity
            assert (refusal.code == "section_sold_out") == bool(wish.section)
        case "not_together":
            assert wish.together
            assert free >= quantity
            states = bytes(each in taken for each in ONE)
            assert by_looking(SMALL, states, quantity, wish.section, together=True) is None
        case code:
            assert code == "row_too_short"
            assert wish.together
            assert quantity > max(rows)


@given(stories)
def test_replaying_the_records_gives_the_same_seats(story: list[tuple[float, Command]]) -> None:
    views = [told.view for told in tell(story)]
    if views:
        again = replay(views[-1].event, views[-1].fresh, SMALL)
        assert (again.seats, again.holds, again.orders) == (views[-1].seats, views[-1].holds, views[-1].orders)


def sold(view: View, *wanted: str, key: str = "k", quantity: int = 0, **wish: object) -> Record | Refusal:
    command = Sell(key, "r", f"o-{key}", quantity or len(wanted), wish=Wish(wanted, **wish))  # type: ignore[arg-type]
    [outcome] = decide_all(view, [command], NOW)
    assert isinstance(outcome, Record | Refusal)
    return outcome


def code(outcome: Record | Refusal) -> str:
    return outcome.code if isinstance(outcome, Refusal) else outcome.kind


def test_a_refusal_names_exactly_the_wanted_seats_that_are_taken() -> None:
    view = new_event()
    sold(view, "stalls-A-1", "stalls-A-2", key="a")
    refused = sold(view, "stalls-A-2", "stalls-A-3", "stalls-A-1", key="b")
    assert refused == Refusal("seat_taken", 1, SMALL.size - 2, None, ("stalls-A-2", "stalls-A-1"))


def test_refusals_come_in_a_fixed_order() -> None:
    view = new_event(opens_at=NOW + timedelta(hours=1), max_per_buyer=9)
    assert code(sold(view, "stalls-Z-1", quantity=9)) == "unknown_seat"
    assert code(sold(view, quantity=9)) == "over_limit"
    assert code(sold(view, quantity=4, section="box", together=True)) == "row_too_short"
    assert code(sold(view, "stalls-A-1")) == "buyer_needed"
    assert code(sold(new_event(opens_at=NOW + timedelta(hours=1)), "stalls-A-1")) == "doors_closed"


def test_not_together_is_told_only_where_enough_seats_are_free() -> None:
    view = new_event(hall_of(("a", [3])))
    sold(view, "a-A-2", key="a")
    assert code(sold(view, quantity=2, together=True, key="b")) == "not_together"
    sold(view, "a-A-1", key="c")
    assert code(sold(view, quantity=2, together=True, key="d")) == "sold_out"
    assert code(sold(view, quantity=2, together=True, section="a", key="e")) == "section_sold_out"


def test_an_event_without_a_hall_has_no_seats() -> None:
    view = View(Event("show", "Show", 9))
    assert code(sold(view, "stalls-A-1")) == "no_hall"
    assert code(sold(view, quantity=1, together=True)) == "no_hall"
    granted = sold(view, quantity=1)
    assert isinstance(granted, Record)
    assert granted.seats == ()


def test_a_late_payment_gets_exactly_the_seats_of_its_hold_or_none() -> None:
    for taken_meanwhile in ("stalls-A-4", "stalls-A-1"):
        view = new_event()
        hold = Hold("h", "r", "h1", 2, 1.0, wish=Wish(("stalls-A-1", "stalls-A-2")))
        decide_all(view, [hold], NOW)
        later = NOW + timedelta(seconds=2)
        view.due = due_at(view.holds.values(), later)
        decide_all(view, [Sell("s", "r", "o1", 1, wish=Wish((taken_meanwhile,)))], later)
        [late] = decide_all(view, [Confirm("c", "r", "h1", "o2")], later)
        if taken_meanwhile == "stalls-A-1":
            assert isinstance(late, Refusal)
            assert late.code == "hold_expired"
        else:
            assert isinstance(late, Record)
            assert (late.kind, late.seats) == ("sold", ("stalls-A-1", "stalls-A-2"))
