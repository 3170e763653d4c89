"""Any halls, and any commands for their seats: decided by the rules and by an engine, as in ``differential``."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import msgspec
from differential import (
    NOW,
    SECOND,
    Batch,
    Told,
    by_the_engine,
    cancels,
    confirms,
    events,
    fresh_names,
    holds,
    moments,
    releases,
    sells,
)
from hypothesis import strategies as st

from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import (
    Cancel,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    Sweep,
    View,
    Wish,
    decide_all,
    due_at,
)
from service.rules.records import ANY

_serial = itertools.count()


def hall_of(**sections: dict[str, int]) -> Hall:
    """A hall of sections, each with its rows and their sizes."""
    return Hall(Plan(tuple(Section(name, tuple(Row(*row) for row in rows.items())) for name, rows in sections.items())))


class House(NamedTuple):
    """An event with a hall, and what is asked for in it."""

    hall: Hall
    event: Event
    told: Told


@st.composite
def houses(draw: st.DrawFn) -> House:
    sizes = draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=2))
    names = ["s", "a-b"]
    hall = hall_of(**{names[at]: {"ABC"[row]: size for row, size in enumerate(rows)} for at, rows in enumerate(sizes)})
    named = st.lists(
        st.sampled_from([*map(hall.seat, range(hall.size)), *map(hall.seat, range(hall.size)), "s-A-9"]),
        min_size=1, max_size=3, unique=True,
    ).map(lambda seats: (len(seats), Wish(tuple(seats))))  # fmt: skip
    best = st.tuples(
        st.integers(1, 4),
        st.builds(Wish, section=st.sampled_from(["", "", *names]), together=st.booleans()) | st.just(ANY),
    )
    wished = named | best
    sell, hold = st.builds(_wishing, sells, wished), st.builds(_wishing, holds, wished)
    command = st.one_of(sell, sell, hold, hold, cancels, confirms, confirms, releases, st.just(Sweep()))
    told = draw(
        st.lists(
            st.builds(Batch, moments, st.lists(command, min_size=1, max_size=4)), min_size=1, max_size=8
        ).map(fresh_names)
    )  # fmt: skip
    event = msgspec.structs.replace(draw(events), capacity=hall.size, hall=hall.name, born="b")
    return House(hall, event, told)


def _wishing(command: Sell | Hold, wished: tuple[int, Wish]) -> Sell | Hold:
    quantity, wish = wished
    return msgspec.structs.replace(command, quantity=quantity, wish=wish)


Decided = tuple[list[Outcome], list[Record], tuple[int, int, int, int], bytes]
"""The outcomes, all records, the counters at the end, and the map."""


def _all_of(outcomes: list[Outcome], records: list[Record], view: View) -> Decided:
    return outcomes, records, (view.version, view.sold, view.held, view.next_ticket), bytes(view.seats)


def by_the_rules(house: House) -> Decided:
    view, outcomes = View(house.event, hall=house.hall, seats=bytearray(house.hall.size)), []
    for after_s, asked in house.told:
        now = NOW + after_s * SECOND
        view.due = due_at(view.holds.values(), now)
        outcomes += decide_all(view, asked, now)
        view.due = ()
    return _all_of(outcomes, view.fresh, view)


def by_an_engine(store: Any, house: House) -> Decided:
    """Decided by the engine."""
    store.halls.keep(house.hall)
    outcomes, records, view = by_the_engine(store, house.event, house.told)
    return _all_of(outcomes, records, store.seats(view.event.event))


def by_views(store: Any, house: House) -> Decided:
    """Decided by the rules, on what the store shows for it."""
    store.halls.keep(house.hall)
    name = f"v{next(_serial)}"
    store.create(msgspec.structs.replace(house.event, event=name))
    outcomes: list[Outcome] = []
    for after_s, asked in house.told:
        now = NOW + after_s * SECOND
        view = store.view(name, asked, now)
        outcomes += decide_all(view, asked, now)
        store.append([view])
    return _all_of(outcomes, list(store.audit(name)[1]), store.seats(name))


def sell(key: str, *seats: str, buyer: str | None = None) -> Sell:
    """Of these seats."""
    return Sell(key, "r", f"o{key}", len(seats), buyer, wish=Wish(seats))


def best(key: str, quantity: int, section: str = "", *, together: bool = False) -> Sell:
    return Sell(key, "r", f"o{key}", quantity, wish=Wish((), section, together))


def hold(key: str, *seats: str, lasts_s: float = 1) -> Hold:
    """Of these seats, under the key's own name."""
    return Hold(key, "r", f"h{key}", len(seats), lasts_s, wish=Wish(seats))


def said(outcomes: list[Outcome]) -> list[object]:
    """The seats that each command got, or why it got none."""
    return [outcome.seats if isinstance(outcome, Record) else getattr(outcome, "code", outcome) for outcome in outcomes]


_HALL = hall_of(s={"A": 4, "B": 3}, t={"A": 2})
TELLING = House(
    _HALL,
    Event("show", "Show", 9, max_per_order=5, hall=_HALL.name, born="b"),
    [
        Batch(0, [best("a", 1), best("b", 1), best("c", 2, together=True), sell("d", "s-A-1", "s-A-2")]),
        Batch(0, [sell("e", "t-A-2", "t-A-1"), best("f", 1, "t"), best("g", 2, together=True)]),
        Batch(0, [best("h", 2, "t", together=True), best("i", 4), best("j", 5, together=True), best("k", 1, "x")]),
        Batch(0, [sell("l", "s-A-9", "s-A-1", "x-A-1"), Cancel("m", "r", "oe"), best("n", 2, "t", together=True)]),
        Batch(0, [Cancel("o", "r", "ob"), hold("p", "s-A-3", "s-A-1"), sell("q", "s-A-1"), hold("u", "s-B-3")]),
        # What expired is free, and a late payment gets exactly it or nothing.
        Batch(1, [sell("r", "s-A-1"), Confirm("s", "r", "hp", "os"), Confirm("v", "r", "hu", "ov")]),
        Batch(1, [sell("t", "s-B-3"), hold("I", "s-A-1"), hold("J", "s-B-3", "s-A-4")]),
        Batch(1, [hold("w", "s-A-3", "s-A-4"), sell("x", "s-A-3"), Confirm("y", "r", "hw", "oy"), sell("z", "s-A-4")]),
        Batch(1, [Cancel("A", "r", "oy"), Cancel("B", "r", "ov"), hold("C", "s-B-3"), Release("D", "r", "hC")]),
        Batch(1, [best("E", 3), best("F", 1), Cancel("G", "r", "oE"), best("H", 2, "s", together=True), Sweep()]),
    ],
)
"""Commands that tell a wrong translation of seats from the right one."""

_WIDE = hall_of(s={"A": 7, "B": 6, "C": 5})
TELLING_ROWS = House(
    _WIDE,
    Event("show", "Show", 18, max_per_order=8, hall=_WIDE.name, born="b"),
    [
        # The middle is taken; on both sides as near to it, then on the farther side alone; then the next row.
        Batch(0, [sell("a", "s-A-4"), best("b", 2, together=True), best("c", 2, together=True), best("d", 2)]),
        Batch(0, [best("e", 2, together=True), best("f", 2, together=True), best("g", 2, together=True)]),
        Batch(0, [best("h", 3, together=True), best("i", 2, together=True), best("j", 2), best("k", 1), best("l", 1)]),
        Batch(0, [Cancel("m", "r", "oa"), Cancel("n", "r", "ob"), best("o", 4, together=True), best("p", 3)]),
        Batch(0, [Cancel("q", "r", "oc"), Cancel("r", "r", "od"), Cancel("s", "r", "oe"), best("t", 6)]),
    ],
)
"""The same of long rows: which of them, and where in it."""

TELLING_GAPS = House(
    _WIDE,
    Event("show", "Show", 18, max_per_order=8, hall=_WIDE.name, born="b"),
    [
        # The gap with the higher numbers is nearer to the middle. What is left are the ends of a row: neighbours are in
        # another one, and where they may be apart the ends come first.
        Batch(0, [sell("a", "s-A-3"), best("b", 2, together=True), sell("c", "s-A-2", "s-A-6")]),
        Batch(0, [sell("e", "s-B-4"), best("i", 2, together=True), Cancel("j", "r", "oi"), best("d", 3)]),
        Batch(0, [best("f", 2, together=True), best("g", 3, together=True), best("h", 7)]),
    ],
)
"""The same of gaps and of what is taken from several rows."""

_LIMITED = {"max_per_order": 2, "max_per_buyer": 2, "max_held": 1, "max_hold_s": 2}
TELLING_ORDER = House(
    _HALL,
    Event("show", "Show", 9, NOW + SECOND, hall=_HALL.name, born="b", **_LIMITED),  # type: ignore[arg-type]
    [
        # Each is refused for two reasons or more.
        Batch(0, [sell("a", "s-A-1", "s-A-9", "s-A-2"), best("b", 5, "x", together=True), best("c", 5, together=True)]),
        Batch(0, [sell("d", "s-A-1"), sell("e", "s-A-1", buyer="ann")]),
        Batch(1, [sell("f", "s-A-1", "s-A-2", buyer="ann"), sell("g", "s-A-1", buyer="ann")]),
        Batch(1, [sell("h", "s-A-1", "s-A-3", buyer="bob"), sell("i", "s-A-2", "s-A-1", buyer="bob")]),
        Batch(1, [msgspec.structs.replace(hold("j", "s-A-1", "s-A-3"), buyer="bob")]),
        Batch(1, [msgspec.structs.replace(hold("k", "s-A-3", "s-A-4"), buyer="bob")]),
        Batch(1, [msgspec.structs.replace(hold("l", "s-A-3", "s-A-4", lasts_s=9), buyer="bob")]),
        Batch(0, [sell("m", "s-A-1", buyer="bob")]),
    ],
)
"""The same of the order of the refusals."""

ALL_TELLING = (TELLING, TELLING_ROWS, TELLING_GAPS, TELLING_ORDER)
