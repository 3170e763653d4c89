"""Carts: purchases in several events under one key, which are in all of these events or in none.

This is the one check that looks at several events at once. Each event alone may look right while half a cart is sold:
its audit lists an order like any other. Only the buyer knows which events a cart was for: the lines of the history name
the cart. Whether an event has it is said by the event's audit or, where there is none, by the buyer's answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from loadtests.lab.checks.case import operation_of
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.history.audit import SOLD, Audit
from loadtests.lab.history.history import BUY, OK, UNKNOWN, History


class _Part(NamedTuple):
    """The fate of a cart in one of its events. ``there`` is None where nobody knows."""

    event: str
    row: int
    quantity: int
    there: bool | None
    place: int = 0
    """Of its record in the event's audit, from 1 on; 0 without one."""
    version: int = 0
    named: str | None = None
    """The cart that its record names."""


def check(history: History, audits: Mapping[str, Audit], _: object) -> Findings:
    """Compare, for each cart that a buyer asked for, the events that the buyer named with those that have it."""
    findings = Findings(applies=bool((history.cart >= 0).any()))
    if not findings.applies:
        return findings
    torn = []
    for parts in _carts(history, audits):
        silent = [part.event for part in parts if part.there is None]
        if silent:
            findings.undecided.append(f"the audit of {silent[0]} is missing, and a buyer of a cart was not answered")
        elif len({part.there for part in parts}) > 1 or len({part.named for part in parts}) > 1:
            torn.append(parts)
    findings.add("half a cart", np.arange(len(torn)), lambda at: _told(history, torn[at]))
    return findings


def _carts(h: History, audits: Mapping[str, Audit]) -> Iterator[list[_Part]]:
    """Each cart, event by event in the order of the file."""
    rows: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in np.flatnonzero((h.cart >= 0) & (h.op == BUY)).tolist():
        rows[int(h.cart[row])][int(h.event[row])].append(row)
    wanted = {h.keys.string(int(h.key[row])) for events in rows.values() for [row, *_] in events.values()}
    recorded = {event: _sold(audit, wanted) for event, audit in audits.items()}
    for events in rows.values():
        yield [_part(h, h.events[event], attempts, recorded) for event, attempts in events.items()]


def _sold(audit: Audit, wanted: set[str | None]) -> dict[str | None, tuple[int, int, str | None]]:
    """The sales of an audit by key: place, version, and the cart that the record names."""
    return {
        key: (place + 1, int(audit.version[place]), audit.carts.string(int(audit.cart[place])))
        for place in np.flatnonzero(audit.kind == SOLD).tolist()
        if (key := audit.keys.string(int(audit.key[place]))) in wanted
    }


def _part(
    h: History,
    event: str,
    attempts: Sequence[int],
    recorded: Mapping[str, Mapping[str | None, tuple[int, int, str | None]]],
) -> _Part:
    first, quantity = attempts[0], int(h.quantity[attempts[0]])
    if event in recorded:
        found = recorded[event].get(h.keys.string(int(h.key[first])))
        return _Part(event, first, quantity, False) if found is None else _Part(event, first, quantity, True, *found)
    outcomes = {int(h.outcome[row]) for row in attempts}
    return _Part(event, first, quantity, True if OK in outcomes else None if UNKNOWN in outcomes else False)


def _told(h: History, parts: Sequence[_Part]) -> Evidence:
    """The event that has the cart comes first, because its audit is shown."""
    parts = sorted(parts, key=lambda part: not part.there)
    wish = " and ".join(f"{part.quantity} of {part.event}" for part in parts)
    became = "; ".join(_became(part) for part in parts)
    places = [part.place for part in parts[:1] if part.place]
    text = f"{wish} were asked for in one cart, all or none: {became}"
    return Evidence(text, [operation_of(h, part.row) for part in parts], places)


def _became(part: _Part) -> str:
    if not part.there:
        return f"{part.event} has no record of it"
    where = f" as record {part.place}, at version {part.version}" if part.place else ", as its buyer was answered"
    return f"{part.event} has it{where}" + (f", in the cart {part.named}" if part.named else "")
