"""The index of an event's pages: where a key, an order, a hold or a buyer stands, without reading the pages.

A *chain* is all pages up to one of them. Its index lives in the memory of a process and is derived from these pages and
from nothing else: what another chain had, of a writer whose head was lost, is not in it. A chain never changes; the
next one is made of it and of the pages that came since.

An index is a few *runs*, each two sorted columns: a 64-bit hash of the name, and the place of a record with that name
(its page in the chain and its line in the page): 16 bytes a name. A run is merged with its neighbour once it is as
large, as in a log-structured merge tree. Two names may share a hash: the record found is read and compared.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

_LINE_BITS = 20
MOST_LINES = 1 << 10
"""Most records of a page: whoever looks for one reads its page."""
_64_BITS = (1 << 64) - 1


class _Names(msgspec.Struct):
    """What can be looked for of a record."""

    key: str = ""
    order: str = ""
    hold: str = ""
    buyer: str | None = None


_names = msgspec.json.Decoder(_Names)


class Entries:
    """The names in some pages, and where they stand, to be made a run of."""

    def __init__(self, *, buyers: bool) -> None:
        self._buyers = buyers
        self.hashes = array("Q")
        self.places = array("Q")

    def add(self, page: int, lines: bytes) -> None:
        """Take in the records of a page, a line each; ``page`` is its number in the chain, from 0.

        Errors: ``msgspec.DecodeError``.
        """
        for place, names in enumerate(_names.decode_lines(lines), page << _LINE_BITS):
            self._name(names.key, place)
            self._name(names.order, place)
            self._name(names.hold, place)
            if self._buyers and names.buyer is not None:
                self._name(names.buyer, place)

    def _name(self, name: str, place: int) -> None:
        if name:
            self.hashes.append(_hash(name))
            self.places.append(place)


class _Run(NamedTuple):
    hashes: memoryview
    places: memoryview

    def find(self, wanted: int) -> Iterator[int]:
        at = bisect.bisect_left(self.hashes, wanted)
        while at < len(self.hashes) and self.hashes[at] == wanted:
            yield self.places[at]
            at += 1


class Chain(NamedTuple):
    """All pages up to one of them, oldest first, and their index."""

    pages: tuple[str, ...] = ()
    runs: tuple[_Run, ...] = ()

    def find(self, name: str) -> Iterator[tuple[str, int]]:
        """The places that may be of a record with this name, in the order of writing: the page, and the line in it."""
        wanted = _hash(name)
        for run in self.runs:
            for place in run.find(wanted):
                yield self.pages[place >> _LINE_BITS], place & ((1 << _LINE_BITS) - 1)

    def followed_by(self, pages: Sequence[str], entries: Entries) -> Chain:
        """The chain with some pages after it, whose names these are."""
        runs = [*self.runs, _run(entries.hashes, entries.places)]
        while len(runs) > 1 and len(runs[-1].hashes) >= len(runs[-2].hashes):
            right, left = runs.pop(), runs.pop()
            runs.append(_merged(left, right))
        return Chain((*self.pages, *pages), tuple(runs))

    @property
    def size(self) -> int:
        """About how many bytes of memory it has."""
        return 128 * len(self.pages) + sum(16 * len(run.hashes) for run in self.runs)


def _hash(name: str) -> int:
    """Python's own, which is another one in each process: so nobody outside can choose names that share one."""
    return hash(name) & _64_BITS


def _merged(left: _Run, right: _Run) -> _Run:
    return _run(*(array("Q", b"".join(columns)) for columns in zip(left, right, strict=True)))


def _run(hashes: array[int], places: array[int]) -> _Run:
    """Sorted by hash, and by place where that is the same."""
    import numpy as np

    columns = [np.frombuffer(column, np.uint64) for column in (hashes, places)]
    order = np.lexsort((columns[1], columns[0]))
    return _Run(*(memoryview(column[order].tobytes()).cast("Q") for column in columns))
