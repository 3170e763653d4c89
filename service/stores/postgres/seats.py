"""The translation of seats between the rules, which use ids, and the engine, which uses their index in the hall.

``lastseat.seats`` has a row for each seat that is held or sold, under its index; a seat without a row is free. The
records and the open holds keep the indices of their seats too, so the engine finds the rows of what they name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from service.rules.halls import HELD, SOLD, Hall
from service.rules.inventory import Command, View
from service.rules.records import CHANGES
from service.stores.seat_reading import indices, seats_wanted

_states = msgspec.json.Decoder(tuple[list[int] | None, list[int] | None])

Spans = tuple[list[int], list[int]]
"""Stretches of a hall: the index at which each begins, and the one before which it ends."""


class Changes(NamedTuple):
    """What a list of records makes of the rows of ``lastseat.seats``. Indices, each list ascending."""

    taken: list[int]
    """Those that get a row, and did not have one or lose it."""
    states: list[int]
    """Of those, in the same order."""
    confirmed: list[int]
    """Those whose row says from now on that they are sold."""
    freed: list[int]
    """Those whose rows are removed, before others get one."""


def changes_of(view: View, hall: Hall) -> Changes:
    """What the records that were decided on a view make of the rows."""
    taken: set[int] = set()
    confirmed: set[int] = set()
    freed: set[int] = set()
    for record in view.fresh:
        sold, held, is_new = CHANGES[record.kind]
        seats = indices(hall, record.seats)
        if is_new:
            taken.update(seats)
        elif sold + held < 0:
            freed.update(seats)
            taken.difference_update(seats)
            confirmed.difference_update(seats)
        else:
            confirmed.update(set(seats) - taken)
    new = sorted(taken)
    return Changes(new, [view.seats[index] for index in new], sorted(confirmed), sorted(freed))


def spans_of(hall: Hall, commands: Sequence[Command]) -> Spans:
    """The stretches of the hall that commands want to see: the seats that they name, and the sections of which they
    want the best. None of them overlaps or touches another one."""
    wanted = seats_wanted(hall, commands)
    firsts: list[int] = []
    ends: list[int] = []
    for first, end in sorted([*wanted.spans, *((index, index + 1) for index in wanted.named)]):
        if ends and first <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            firsts.append(first)
            ends.append(end)
    return firsts, ends


def show_seats(view: View, found: bytes | None) -> None:
    """Put the states that were read into a view: a JSON array of the indices that are held, and of those sold."""
    held, sold = _states.decode(found or b"[null,null]")
    for seats, state in ((held, HELD), (sold, SOLD)):
        for index in seats or ():
            view.seats[index] = state
