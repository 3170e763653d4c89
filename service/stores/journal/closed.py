"""The closed segments of one event's journal: read as a whole, or by a name that is found through an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.errors import Problem
from service.rules.inventory import Record
from service.runtime.files import storage_problems
from service.stores.journal.index import (
    Index,
    entries_of,
    hash_of,
    merge,
    open_indexes,
    place_of,
    split_place,
    write_index,
)
from service.stores.journal.lines import NO_SEAL, Line, Seal
from service.stores.journal.segments import Segment, missing

_MOST_OPEN = 8
"""Closed segments of a journal that a process keeps open."""


class ClosedSegments:
    """What stands before the active segment, as far as ``indexes`` cover it; none do at first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.indexes: list[Index] = []
        self._open: dict[int, Segment] = {}

    def lines(self, number: int, end: int | None = None) -> Iterator[tuple[int, Line]]:
        """The lines of a segment, each with the offset after it: up to ``end``, or all of a closed one.

        Errors: ``corrupt_document`` also where it is missing or was cut at its end, which no line in it tells.
        """
        segment = self._segment(number)
        try:
            line: Line | None = None
            for offset, line in segment.lines(0, end):
                yield offset, line
            if end is None and not isinstance(line, Seal):
                raise segment.damaged(segment.size(), NO_SEAL)
        finally:
            segment.close()

    def indexes_before(self, active: int) -> list[Index]:
        """Open what covers the closed segments; build what is missing. Errors: ``storage_full``, …"""
        while True:
            indexes = open_indexes(self._directory, self.indexes)
            covered = {number for each in indexes for number in range(each.first, each.last + 1)}
            # Not of those that are there: one that is missing would then be missed by nobody.
            uncovered = next((number for number in range(1, active) if number not in covered), None)
            if uncovered is None:
                return [each for each in indexes if each.first < active]
            with storage_problems():
                self._build_index(uncovered)

    def records(self, kind: str, name: str) -> Iterator[Record]:
        """The records with this ``key``, ``order``, ``hold`` or ``buyer``, in order."""
        if not self.indexes:
            return
        wanted = hash_of(kind, name)
        for index in self.indexes:
            for place in index.find(wanted):
                record = self._read(place)
                if getattr(record, kind) == name:
                    yield record

    def close(self) -> None:
        """Keep none of them open; whatever is looked for next is opened again."""
        self._open.clear()

    def _build_index(self, number: int) -> None:
        entries: list[tuple[int, int]] = []
        start = 0
        for offset, line in self.lines(number):
            if isinstance(line, Record):
                entries += entries_of(line, place_of(number, start))
            start = offset
        index = write_index(self._directory, number, number, entries)
        indexes = [each for each in open_indexes(self._directory) if each.last < number] + [index]
        while len(indexes) > 1 and indexes[-1].size >= indexes[-2].size:
            right, left = indexes.pop(), indexes.pop()
            indexes.append(merge(self._directory, left, right))

    def _read(self, place: int) -> Record:
        number, offset = split_place(place)
        segment = self._open.get(number)
        if segment is None:
            segment = self._open[number] = self._segment(number)
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        for _, line in segment.lines(offset):
            if isinstance(line, Record):
                return line
            break
        raise segment.damaged(offset, "an index names a record here, and there is none")

    def _segment(self, number: int) -> Segment:
        try:
            return Segment(self._directory, number)
        except FileNotFoundError:
            if not self._directory.exists():
                raise Problem("unknown_event") from None
            raise missing(self._directory, number) from None
