"""Which seats a buyer wants, by what the map shows and by the buyer's taste."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.lab.protocol.seat_map import SeatMap

LARGEST_PARTY = 3
"""Most who want to sit side by side."""


@dataclass(frozen=True)
class SeatWish:
    """Seats by name, or a number of them that the office is to choose, perhaps side by side and in one section."""

    quantity: int
    wanted: list[str] | None = None
    together: bool | None = None
    section: str | None = None

    @property
    def which(self) -> dict[str, Any]:
        """All but the number, as ``Client.buy`` and ``Client.hold`` take it."""
        return {"wanted": self.wanted, "together": self.together, "section": self.section}


ANY_SEAT = SeatWish(1)
"""Also what is asked for when no seat seems to be free: a map that is old may be wrong."""


def choose(taste: str, seat_map: SeatMap, most: int, rng: random.Random) -> SeatWish:
    """What a buyer of this ``taste`` asks for next, ``most`` seats at once.

    ``front``: the best that are free. ``spread``: any that are free. ``together``: two or three side by side, named or
    left to the office; a buyer who sees no free neighbours takes a single seat.
    """
    free = seat_map.free
    if not len(free):
        return ANY_SEAT
    if taste == "together":
        return _side_by_side(seat_map, free, most, rng)
    quantity = rng.randint(1, min(most, len(free)))
    if taste == "front":
        ranks = seat_map.hall.rank[free]
        best = np.argpartition(ranks, quantity - 1)[:quantity]
        return _named(seat_map, free[best[np.argsort(ranks[best])]])
    return _named(seat_map, free[rng.sample(range(len(free)), quantity)])


def _named(seat_map: SeatMap, seats: NDArray[np.int64]) -> SeatWish:
    return SeatWish(len(seats), wanted=[seat_map.hall.ids[seat] for seat in seats])


def _side_by_side(seat_map: SeatMap, free: NDArray[np.int64], most: int, rng: random.Random) -> SeatWish:
    hall = seat_map.hall
    for party in range(rng.randint(2, LARGEST_PARTY), 1, -1):
        starts = _windows(seat_map, free, party)
        if party > most or not len(starts):
            continue
        where = rng.choice(["named", "anywhere", "in a section"])
        if where == "named":
            # The best of them, for many to want the same.
            row = starts[hall.row_of[starts] == hall.row_of[starts[0]]]
            first, end = hall.row_starts[hall.row_of[row[0]]], hall.row_starts[hall.row_of[row[0]] + 1]
            at = int(row[np.argmin(np.abs(2 * row + party - first - end))])
            return _named(seat_map, np.arange(at, at + party))
        section = hall.section_names[hall.section_of[rng.choice(starts.tolist())]] if where == "in a section" else None
        return SeatWish(party, together=True, section=section)
    return ANY_SEAT


def _windows(seat_map: SeatMap, free: NDArray[np.int64], party: int) -> NDArray[np.int64]:
    """Of each ``party`` of free seats side by side, the first seat."""
    first, last = free[: len(free) - party + 1], free[party - 1 :]
    row_of = seat_map.hall.row_of
    windows: NDArray[np.int64] = first[(last - first == party - 1) & (row_of[first] == row_of[last])]
    return windows
