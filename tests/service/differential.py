"""Any commands in any order at any time, decided by the rules and by an engine: what the differential tests compare."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from service.rules.inventory import (
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
    decide_all,
    due_at,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)
_serial = itertools.count()


class Batch(NamedTuple):
    """Commands that are decided together, so long after ``NOW`` (before it where the clock went back)."""

    after_s: float
    commands: list[Command]


Told = Sequence[Batch]

# Few names, so that keys come again, orders are cancelled twice, holds are fought over and buyers reach their limit.
keys = st.sampled_from([f"k{number}" for number in range(8)])
orders = st.sampled_from([f"o{number}" for number in range(6)])
held = st.sampled_from([f"h{number}" for number in range(5)])
nameless = st.just("")
requests = st.sampled_from(["r", "r", "r", "other"])
buyers = st.sampled_from([None, "ann", "bob"])
seconds = st.sampled_from([0.0010005, 1.0, 1.0, 2.0, 30.0])
sells = st.builds(Sell, keys, requests, orders, st.integers(1, 4), buyers)
operations = st.sampled_from(["", "x1", "x2"])
cancels = st.builds(Cancel, keys, requests, orders, operation=operations)
holds = st.builds(Hold, keys, requests, held, st.integers(1, 4), seconds, buyers)
confirms = st.builds(Confirm, keys, requests, held | nameless, orders)
releases = st.builds(Release, keys, requests, held | nameless, operations)
commands = st.one_of(sells, cancels, holds, holds, confirms, confirms, releases, st.just(Sweep()))
moments = st.sampled_from([0.0, 0.001, 1.0, 1.0, 1.5, 2.0, 40.0, -5.0])
batches = st.lists(
    st.builds(Batch, moments, st.lists(commands, min_size=1, max_size=4)), min_size=1, max_size=8
)  # fmt: skip
events = st.builds(
    Event,
    event=st.just("show"),
    name=st.just("Show"),
    capacity=st.integers(1, 9),
    opens_at=st.sampled_from([None, NOW - SECOND, NOW, NOW + timedelta(microseconds=1), NOW + 90 * SECOND]),
    max_per_order=st.integers(1, 4),
    max_per_buyer=st.sampled_from([None, None, 1, 3, 5]),
    max_held=st.sampled_from([None, None, 1, 3, 6]),
    max_hold_s=st.sampled_from([None, None, 0.001, 1.0, 29.5]),
)


def by_the_rules(event: Event, told: Told) -> tuple[list[Outcome], list[Record], View]:
    """The outcomes, all records, and the view at the end."""
    view, outcomes = View(event), []
    for after_s, asked in told:
        now = NOW + timedelta(seconds=after_s)
        view.due = due_at(view.holds.values(), now)
        outcomes += decide_all(view, asked, now)
        view.due = ()
    return outcomes, view.fresh, view


def by_the_engine(store: Any, event: Event, told: Told) -> tuple[list[Outcome], list[Record], View]:
    """The same of an event of its own."""
    name = f"e{next(_serial)}"
    store.create(msgspec.structs.replace(event, event=name))
    outcomes: list[Outcome] = []
    for after_s, asked in told:
        now = NOW + timedelta(seconds=after_s)
        outcomes += store.commit_atomically(name, asked, now, time.monotonic() + 30)[0]
    return outcomes, list(store.audit(name)[1]), store.view(name)


def counters(view: View) -> tuple[int, int, int, int]:
    return view.version, view.sold, view.held, view.next_ticket


def fresh_names(told: Told) -> Told:
    """Each sale, hold and confirmation under an id of its own, as the box office makes them; the first keeps its."""
    seen: set[str] = set()

    def fresh(name: str) -> str:
        mine = name if name not in seen else f"{name}.{next(_serial)}"
        seen.add(name)
        return mine

    def renamed(command: Command) -> Command:
        match command:
            case Sell(order=order) | Confirm(order=order):
                return msgspec.structs.replace(command, order=fresh(order))
            case Hold(hold=hold):
                return msgspec.structs.replace(command, hold=fresh(hold))
        return command

    return [Batch(after_s, [renamed(command) for command in asked]) for after_s, asked in told]


def named(told: Told) -> list[Batch]:
    """Each sale and each hold to a buyer, of its own where none is said: without one a limit per buyer refuses it."""

    def with_name(command: Command) -> Command:
        nameless = isinstance(command, Sell | Hold) and command.buyer is None
        return msgspec.structs.replace(command, buyer=f"of {command.key}") if nameless else command

    return [Batch(after_s, [with_name(command) for command in asked]) for after_s, asked in told]


TELLING: list[Batch] = [
    Batch(0, [Sell("a", "r", "o1", 2, "ann"), Sell("a", "r", "o2", 1, "ann"), Sell("b", "r", "o3", 4, None)]),
    Batch(0, [Cancel("c", "r", "o1"), Cancel("d", "r", "o1"), Cancel("c", "r", "o4"), Sell("e", "r", "o4", 1, "bob")]),
    Batch(
        0,
        [
            Cancel("e", "r", "o4"),
            Cancel("e", "other", "o4"),
            Sell("f", "r", "o5", 3, "bob"),
            Sell("g", "r", "o6", 2, "bob"),
        ],
    ),
    Batch(0, [Sell("h", "r", "o7", 3, None), Sell("i", "r", "o8", 1, None), Sell("j", "r", "o9", 1, None)]),
]
TELLING = named(TELLING)
"""Commands that tell every wrong translation of a sale or a cancellation from the right one, on ``TELLING_EVENT``."""
TELLING_EVENT = Event("show", "Show", 7, NOW, max_per_order=3, max_per_buyer=4)

TELLING_HOLDS: list[Batch] = [
    # Over the limit of an order, then of a buyer; a key that comes again while there are places.
    Batch(0, [Hold("a", "r", "h1", 4, 9), Hold("b", "r", "h0", 3, 1, "ann"), Hold("c", "r", "h2", 2, 9, "ann")]),
    Batch(0, [Hold("d", "r", "h3", 2, 2), Hold("d", "r", "h9", 2, 2), Hold("e", "r", "h4", 2, 1)]),
    # All nine are held: nothing is left to sell or to hold.
    Batch(0, [Hold("f", "r", "h5", 2, 0.5), Sell("g", "r", "o0", 1), Hold("h", "r", "h6", 1, 9)]),
    Batch(0.2, [Confirm("i", "r", "h3", "o1"), Confirm("i", "r", "h3", "o1"), Confirm("j", "r", "h3", "o2")]),
    Batch(0.2, [Release("k", "r", "h3"), Confirm("i", "other", "h4", "o2"), Release("i", "other", "h4")]),
    # A replay expires nothing. The refusal after it does: the earliest first, and two of one instant by their versions.
    Batch(1, [Confirm("i", "r", "h3", "o1")]),
    Batch(1, [Cancel("l", "r", "none"), Confirm("m", "r", "h4", "o2"), Confirm("n", "r", "h4", "o3")]),
    # Late, and the buyer has enough; late, and the places are gone.
    Batch(1, [Sell("o", "r", "o4", 2, "ann"), Confirm("p", "r", "h0", "o5"), Confirm("i", "other", "h5", "o5")]),
    Batch(1, [Release("q", "r", "h0"), Cancel("r", "r", "o4"), Sell("s", "r", "o6", 3), Confirm("t", "r", "h0", "o7")]),
    Batch(1, [Hold("u", "r", "h7", 1, 5), Release("v", "r", "h7"), Release("v", "r", "h7"), Release("w", "r", "h7")]),
    Batch(1, [Confirm("x", "r", "h7", "o8"), Cancel("y", "r", "o1"), Cancel("y", "r", "o1"), Cancel("z", "r", "o2")]),
    Batch(1, [Hold("A", "r", "h8", 3, 1)]),
    Batch(2.5, [Sweep(), Sell("B", "r", "o9", 3), Confirm("C", "r", "h8", "o10"), Sell("D", "r", "o11", 3)]),
    # The clock went back: what has expired stays so.
    Batch(0, [Confirm("E", "r", "h8", "o12"), Release("F", "r", "h8")]),
]
TELLING_HOLDS = named(TELLING_HOLDS)
"""The same of holds."""
TELLING_HOLDS_EVENT = Event("show", "Show", 9, max_per_order=3, max_per_buyer=4)

TELLING_LIMITS: list[Batch] = [
    # Without a name; too long, and just not; as many as may be held, one more, and the same as a sale.
    Batch(0, [Sell("a", "r", "o1", 1), Hold("b", "r", "h1", 1, 1), Hold("c", "r", "h1", 1, 2.5, "ann")]),
    Batch(0, [Hold("d", "r", "h1", 2, 2, "ann"), Hold("e", "r", "h2", 2, 1, "bob"), Sell("f", "r", "o1", 2, "bob")]),
    Batch(0, [Hold("g", "r", "h2", 1, 1, "bob"), Hold("h", "r", "h3", 1, 2, "cid")]),
    # What is confirmed, released or expired is held no more. A late payment is a sale.
    Batch(0, [Confirm("i", "r", "h1", "o2"), Hold("j", "r", "h3", 2, 1, "cid"), Release("k", "r", "h2")]),
    Batch(1, [Hold("l", "r", "h4", 3, 2, "dan"), Confirm("m", "r", "h3", "o3"), Hold("n", "r", "h5", 1, 1, "eve")]),
    # Sold out comes before held: it is a fact about the seats.
    Batch(1, [Hold("o", "r", "h6", 3, 1, "fay"), Sell("p", "r", "o4", 1, "fay"), Hold("q", "r", "h6", 2, 1, "gus")]),
]
"""The same of the limits of holds, and of a limit per buyer that somebody without a name meets."""
TELLING_LIMITS_EVENT = Event("show", "Show", 9, max_per_order=3, max_per_buyer=3, max_held=3, max_hold_s=2)
