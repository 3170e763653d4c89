"""Columns: what histories and audits are made of, and the few array functions that all checks share.

A column has one entry for each operation or record. A number that nobody told is ``ABSENT``; strings are ids of
``StringIds``; lists of ticket numbers are one flat array with offsets, ``Ragged``; lists of strings are ``WordLists``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int8]
Floats = NDArray[np.float64]

ABSENT = -(2**62)
"""Stands for a number that is not in the file; smaller than every number that may be."""

NEVER = 2**63 - 1
"""The return of an operation that never returned: later than every time in a file."""


class StringIds:
    """Strings as integers: a string's id is the row it was first met in; None is -1.

    Ids have gaps but stay below the number of rows, so an array of that length can be indexed by them. Of a string its
    text and its hash are kept, some forty bytes; as an object in a dictionary it would take four times as much. Strings
    of one hash are compared: should they differ, ``settle`` and ``translation`` raise ValueError. Python's hashes have
    64 bits and are others in each process, so that nobody can choose such strings.
    """

    def __init__(self) -> None:
        self._collected = bytearray(), bytearray(), bytearray()
        self._text = bytearray()

    def intern(self, strings: Sequence[str | None], first_row: int) -> Ints:
        """The ids of some strings, those of the rows from ``first_row`` on, among these rows alone: see ``settle``."""
        count = len(strings)
        ids: dict[str | None, int] = {None: -1}
        if strings[0] == strings[-1] and strings.count(strings[0]) == count:
            found = np.full(count, ids.setdefault(strings[0], first_row))
        else:
            found = np.fromiter(map(ids.setdefault, strings, range(first_row, first_row + count)), np.int64, count)
        del ids[None]
        new = cast("dict[str, int]", ids)
        text, lengths = "".join(new).encode(), list(map(len, new))
        if len(text) != sum(lengths):  # not all are ASCII
            lengths = [len(string.encode()) for string in new]
        for collected, column in zip(self._collected, (new.values(), map(_hash, new), lengths), strict=True):
            collected.extend(np.fromiter(column, np.int64, len(new)).tobytes())
        self._text += text
        return found

    def settle(self, found: Ints) -> Ints:
        """The ids of all rows, from what ``intern`` found; afterwards nothing can be interned any more."""
        rows, hashes, lengths = (np.frombuffer(each, np.int64) for each in self._collected)
        self._rows, self._texts = rows, Ragged.of_lengths(lengths, np.frombuffer(self._text, np.uint8))
        by_hash = np.argsort(hashes, kind="stable")
        ordered = hashes[by_hash]
        is_first = np.concatenate((ordered[:1] == ordered[:1], ordered[1:] != ordered[:-1]))
        self._by_hash = by_hash[is_first]
        self._hashes = hashes[self._by_hash]
        del self._collected
        again = by_hash[~is_first]
        if len(again):
            first = self._by_hash[np.cumsum(is_first)[~is_first] - 1]
            _insist_on_equal(self._texts, first, self._texts, again)
            final = np.arange(len(found) + 1)
            final[rows[again]] = rows[first]
            final[-1] = -1
            found = final[found]
        return found

    @property
    def bound(self) -> int:
        """Greater than every id."""
        return int(self._rows[-1]) + 1 if len(self._rows) else 0

    def translation(self, other: StringIds) -> Ints:
        """An array that, indexed by an id of ``other``, gives the id of the same string here, or -1."""
        table = np.full(other.bound + 1, -1)  # the last one answers index -1
        if len(self._rows):
            at = np.minimum(np.searchsorted(self._hashes, other._hashes), len(self._hashes) - 1)
            found = self._hashes[at] == other._hashes
            ours, theirs = self._by_hash[at[found]], other._by_hash[found]
            _insist_on_equal(self._texts, ours, other._texts, theirs)
            table[other._rows[theirs]] = self._rows[ours]
        return table

    def string(self, number: int) -> str | None:
        """The string of an id, None for -1."""
        return None if number < 0 else bytes(self._texts.row(int(np.searchsorted(self._rows, number)))).decode()


_hash = hash


def _insist_on_equal(a: Ragged, rows_a: Ints, b: Ragged, rows_b: Ints) -> None:
    """Raise ValueError if the texts at some pairs of rows are not equal; those of one length are compared at once."""
    starts_a, starts_b = a.offsets[rows_a], b.offsets[rows_b]
    lengths = a.offsets[rows_a + 1] - starts_a
    same = bool((b.offsets[rows_b + 1] - starts_b == lengths).all())
    by_length = np.argsort(lengths, kind="stable")
    for part in np.split(by_length, np.flatnonzero(np.diff(lengths[by_length])) + 1):
        if same and len(part) and (length := int(lengths[part[0]])):
            texts_a, texts_b = (sliding_window_view(each.flat, length) for each in (a, b))
            same = bool((texts_a[starts_a[part]] == texts_b[starts_b[part]]).all())
    if not same:
        raise ValueError("two strings have one hash by chance; in another process they will not")


@dataclass(frozen=True)
class Ragged:
    """One list of integers per row: row i holds ``flat[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    flat: NDArray[Any]

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        return cls.of_lengths(
            np.fromiter(map(len, lists), np.int64, len(lists)), np.fromiter(chain.from_iterable(lists), np.int64)
        )

    @classmethod
    def of_lengths(cls, lengths: Ints, flat: NDArray[Any]) -> Ragged:
        """From the rows' lengths and their values."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, flat)

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
        starts = self.offsets[index]
        taken = Ragged.of_lengths(self.offsets[index + 1] - starts, self.flat)
        at = np.repeat(starts - taken.offsets[:-1], taken.lengths)
        at += np.arange(len(at))
        return Ragged(taken.offsets, self.flat[at])


@dataclass(frozen=True)
class WordLists:
    """One list of strings per row: those of row i are the ``words`` at ``lists.row(i)``.

    ``told`` says which rows had a list at all, be it an empty one.
    """

    words: tuple[str, ...]
    lists: Ragged
    told: Bools

    def row(self, index: int) -> list[str]:
        return [self.words[word] for word in self.lists.row(index)]

    def take(self, index: Ints) -> WordLists:
        """The rows at ``index``, in that order."""
        return WordLists(self.words, self.lists.take(index), self.told[index])


def same_rows(a: Ragged, b: Ragged) -> Bools:
    """Row by row, whether two ragged arrays of as many rows hold the same values in the same order."""
    equal: Bools = a.lengths == b.lengths
    if equal.all():
        equal[a.rows()[a.flat != b.flat]] = False
        return equal
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
    """For each wanted id, the value at its first place in ``ids``, or ``missing``; negative ids match nothing.

    Ids are those of ``StringIds`` or of mutations, so that an array of the greatest one's length can be made.
    """
    known = np.flatnonzero(ids >= 0)[::-1]
    first = np.full(max(ids.max(initial=-1), wanted.max(initial=-1)) + 2, -1)  # the last one answers index -1
    first[ids[known]] = known  # the last assignment to an index stays
    return pick(values, first[np.maximum(wanted, -1)], missing)


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """The same values; where all are equal, one for all of them, which cannot be changed."""
    constant = len(values) and (values == values[0]).all()
    return np.broadcast_to(values[0], values.shape) if constant else values
