"""What a history says of seats, in columns beside its others; only histories that name seats have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtests.lab.history.arrays import Bools, Ints, Ragged, StringIds, WordLists

FIELDS = ("seats", "wanted", "taken", "together", "section", "map", "seat")


@dataclass(frozen=True)
class SeatColumns:
    """Row i belongs to operation i. ``given`` are the seats of an answer, ``wanted`` those that were asked for.

    ``taken`` are the wanted seats that a refusal names as taken. ``together`` and ``section`` are what a request for
    the best seats asked for, ``map`` is the state of every seat as a read showed it; the last two are ids (-1: none) of
    ``sections`` and ``maps``.
    """

    given: WordLists
    wanted: WordLists
    taken: WordLists
    together: Bools
    section: Ints
    map: Ints
    sections: StringIds
    maps: StringIds

    def take(self, rows: Ints) -> SeatColumns:
        return SeatColumns(
            self.given.take(rows), self.wanted.take(rows), self.taken.take(rows), self.together[rows],
            self.section[rows], self.map[rows], self.sections, self.maps,
        )  # fmt: skip


def seat_columns(columns: dict[str, Any], names: dict[str, StringIds], refused: Bools) -> SeatColumns | None:
    """Take the fields that are about seats out of a history's columns; None where no line has any of them.

    ``seat`` is the older way to name the one seat of a purchase: it is *wanted*, and at the rows ``refused`` *taken*.
    """
    told = {name: columns.pop(name) for name in FIELDS}
    chosen: Ints = told["seat"]
    lists = (told["seats"], told["wanted"], told["taken"])
    named = any(each.told.any() for each in lists) or (chosen >= 0).any()
    if not (named or (told["together"] == 1).any() or (told["section"] >= 0).any() or (told["map"] >= 0).any()):
        return None
    given, wanted, taken = lists
    if (chosen >= 0).any():
        wanted = _with_one_more(wanted, chosen, names["seat"])
        taken = _with_one_more(taken, np.where(refused, chosen, -1), names["seat"])
    return SeatColumns(
        given, wanted, taken, told["together"] == 1, told["section"], told["map"], names["section"], names["map"]
    )


def _with_one_more(lists: WordLists, seat: Ints, names: StringIds) -> WordLists:
    """The same lists; a row without a list gets one of its single ``seat``, where it has that."""
    one = (seat >= 0) & ~lists.told
    ids, word = np.unique(seat[one], return_inverse=True)
    lengths = np.where(one, 1, lists.lists.lengths)
    merged = Ragged.of_lengths(lengths, np.empty(int(lengths.sum()), np.int64))
    of_one = one[merged.rows()]
    merged.flat[~of_one] = lists.lists.flat
    merged.flat[of_one] = len(lists.words) + word
    words = (*lists.words, *(str(names.string(int(each))) for each in ids))
    return WordLists(words, merged, lists.told | one)
