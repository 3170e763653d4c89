"""Columns: what histories and audits are made of, and the few array functions that all checks share.

A column has one entry for each operation or record. A number that nobody told is ``ABSENT``; strings are ids of
``Names``; lists of ticket numbers are one flat array with offsets, ``Ragged``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int8]
Floats = NDArray[np.float64]

ABSENT = -(2**62)
"""Stands for a number that is not in the file; smaller than every number that may be."""

NEVER = 2**63 - 1
"""The return of an operation that never returned: later than every time in a file."""


class Names:
    """Strings as integers: a string's id is the row it was first met in; None is -1.

    Ids have gaps but stay below the number of rows, so an array of that length can be indexed by them.
    """

    def __init__(self) -> None:
        self._ids: dict[str | None, int] = {None: -1}
        self._strings: dict[int, str | None] = {}

    def intern(self, strings: Iterable[str | None], first_row: int, count: int) -> Ints:
        """The ids of ``count`` strings, those of the rows from ``first_row`` on."""
        rows = range(first_row, first_row + count)
        return np.fromiter(map(self._ids.setdefault, strings, rows), np.int64, count)

    @property
    def bound(self) -> int:
        """Greater than every id."""
        return max(self._ids.values()) + 1

    def translation(self, other: Names) -> Ints:
        """An array that, indexed by an id of ``other``, gives the id of the same string here, or -1."""
        theirs = np.fromiter(other._ids.values(), np.int64, len(other._ids))
        ours = np.fromiter(map(self._ids.get, other._ids, repeat(-1)), np.int64, len(other._ids))
        table = np.full(theirs.max() + 2, -1)  # the last one answers index -1
        table[theirs] = ours
        return table

    def string(self, number: int) -> str | None:
        """The string of an id, None for -1."""
        if len(self._strings) != len(self._ids):
            self._strings = {number: string for string, number in self._ids.items()}
        return self._strings.get(int(number))


@dataclass(frozen=True)
class Ragged:
    """One list of integers per row: row i holds ``flat[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    flat: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        return cls.from_chunks([(np.fromiter(map(len, lists), np.int64, len(lists)), flatten(lists))])

    @classmethod
    def from_chunks(cls, chunks: Sequence[tuple[Ints, Ints]]) -> Ragged:
        """From pairs of lengths and flat values."""
        lengths = joined([lengths for lengths, _ in chunks])
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, joined([flat for _, flat in chunks]))

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def rows(self) -> Ints:
        """The row of each flat value."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def row(self, index: int) -> list[int]:
        return cast("list[int]", self.flat[self.offsets[index] : self.offsets[index + 1]].tolist())

    def first(self) -> Ints:
        """The first value of each row, ABSENT for an empty one."""
        out = np.full(len(self.offsets) - 1, ABSENT)
        filled = self.lengths > 0
        out[filled] = self.flat[self.offsets[:-1][filled]]
        return out

    def take(self, index: Ints) -> Ragged:
        """The rows at ``index``, in that order."""
        lengths = self.lengths[index]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return Ragged(offsets, self.flat[np.repeat(self.offsets[index], lengths) + within])


def same_rows(a: Ragged, b: Ragged) -> Bools:
    """Row by row, whether two ragged arrays of as many rows hold the same values in the same order."""
    equal: Bools = a.lengths == b.lengths
    rows = np.flatnonzero(equal)
    a, b = a.take(rows), b.take(rows)
    equal[rows[a.rows()[a.flat != b.flat]]] = False
    return equal


def pick(values: NDArray[Any], index: Ints, missing: int) -> NDArray[Any]:
    """``values[index]``, and ``missing`` where the index is negative or beyond the end."""
    out = np.full(len(index), missing, values.dtype)
    there = (index >= 0) & (index < len(values))
    out[there] = values[index[there]]
    return out


def one_of(values: NDArray[Any], *choices: int) -> Bools:
    found = np.zeros(len(values), np.bool_)
    for choice in choices:
        found |= values == choice
    return found


def lookup(ids: Ints, values: Ints, wanted: Ints, missing: int) -> Ints:
    """For each wanted id, the value at its first place in ``ids``, or ``missing``; negative ids match nothing."""
    known = np.flatnonzero(ids >= 0)
    ordered = known[np.argsort(ids[known], kind="stable")]
    out = np.full(len(wanted), missing)
    if len(ordered):
        at = np.minimum(np.searchsorted(ids[ordered], wanted), len(ordered) - 1)
        found = (ids[ordered[at]] == wanted) & (wanted >= 0)
        out[found] = values[ordered[at[found]]]
    return out


def flatten(lists: Sequence[Sequence[int]]) -> Ints:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def joined(chunks: Sequence[Ints]) -> Ints:
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64)
