"""The seats that a view of some commands needs, for stores that keep the state of each seat separately."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.rules.halls import Hall
from service.rules.records import Command, Held, Hold, Sell


class SeatsWanted(NamedTuple):
    """By their indices in the hall."""

    spans: list[tuple[int, int]]
    """From which seat and up to which: of the sections, or of the whole hall, of which the best seats are wanted."""
    named: list[int]
    """Each seat that a command names, once; none that the hall has not."""


def seats_wanted(hall: Hall, commands: Sequence[Command]) -> SeatsWanted:
    """What the commands need to see, apart from the seats of the holds that they confirm."""
    wishes = [command.wish for command in commands if isinstance(command, Sell | Hold)]
    sections = {wish.section for wish in wishes if not wish.seats and hall.has(wish.section)}
    return SeatsWanted(
        [hall.span(section) for section in ({""} if "" in sections else sections)],
        indices(hall, (seat for wish in wishes for seat in wish.seats)),
    )


def seats_of(hall: Hall, holds: Iterable[Held]) -> list[int]:
    """The indices of the seats of holds, in their order."""
    return indices(hall, (seat for held in holds for seat in held.seats))


def indices(hall: Hall, seats: Iterable[str]) -> list[int]:
    """The index of each seat, in their order and each once; those that the hall has not are left out."""
    return list(dict.fromkeys(index for seat in seats if (index := hall.index(seat)) is not None))
