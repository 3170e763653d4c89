"""Any commands in any order, decided by the rules and by an engine: what the differential tests compare."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from service.inventory import Cancel, Command, Event, Outcome, Sell, View, decide_all

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


def by_the_rules(event: Event, told: Sequence[Sequence[Command]]) -> tuple[list[Outcome], View]:
    view = View(event)
    return [outcome for commands in told for outcome in decide_all(view, commands, NOW)], view


def by_the_engine(store: Any, event: Event, told: Sequence[Sequence[Command]]) -> tuple[list[Outcome], View, str]:
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


TELLING: list[list[Command]] = [
    [Sell("a", "r", "o1", 2, "ann"), Sell("a", "r", "o2", 1, "ann"), Sell("b", "r", "o3", 4, None)],
    [Cancel("c", "r", "o1"), Cancel("d", "r", "o1"), Cancel("c", "r", "o4"), Sell("e", "r", "o4", 1, "bob")],
    [
        Cancel("e", "r", "o4"),
        Cancel("e", "other", "o4"),
        Sell("f", "r", "o5", 3, "bob"),
        Sell("g", "r", "o6", 2, "bob"),
    ],
    [Sell("h", "r", "o7", 3, None), Sell("i", "r", "o8", 1, None), Sell("j", "r", "o9", 1, None)],
]
"""Commands that tell every wrong translation of a rule from the right one, on ``TELLING_EVENT``."""
TELLING_EVENT = Event("show", "Show", 7, NOW, max_per_order=3, max_per_buyer=3)
