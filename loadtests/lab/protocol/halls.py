"""A hall as the contract has it: sections with rows of seats, their order, their neighbours, and which are the best.

A seat's id is ``<section>-<row>-<number>``, and its index is its place in the hall's order, from 0: the sections as
given, in each its rows as given, in each its numbers from 1 on. What the best seats are is fixed, so that everybody who
has a list of taken seats can check it: the first section, in it the first row, in the row the nearest to its middle,
and of two that are as near the lower number.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_SEATS = 100_000

FREE, HELD, SOLD = range(3)
STATES = ("free", "held", "sold")

Indices = NDArray[np.int64]
States = NDArray[np.uint8]


class HallError(ValueError):
    """No hall of the contract, or a map that is none of this hall's; the message says what is wrong with it."""


class _Row(msgspec.Struct, frozen=True):
    name: str
    seats: int


class _Section(msgspec.Struct, frozen=True):
    name: str
    rows: tuple[_Row, ...]


class _Canonical(msgspec.Struct, frozen=True):
    sections: tuple[_Section, ...]


@dataclass(frozen=True)
class Hall:
    """The seats of a hall, by their indices.

    ``ids`` are the ids in the hall's order. ``section_starts`` and ``row_starts`` are the indices of the first seats of
    the sections and of the rows, each with one more entry, the number of seats. ``section_names`` and ``row_names`` are
    theirs.
    """

    section_names: tuple[str, ...]
    row_names: tuple[str, ...]
    ids: tuple[str, ...]
    section_starts: Indices
    row_starts: Indices

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, canonical: object) -> Hall:
        """The hall of a canonical form, as ``GET /events/<event>/hall`` and an audit's header show it.

        Raises HallError where it is no canonical form, has no seat or more than ``MOST_SEATS``, or gives two seats,
        sections or rows of one section the same name.
        """
        try:
            told = msgspec.convert(canonical, type=_Canonical)
        except msgspec.ValidationError as error:
            raise HallError(f"it is no hall: {error}") from error
        ids: list[str] = []
        sections, rows = [0], [0]
        for section in told.sections:
            _insist_on_different([row.name for row in section.rows], f"the section {section.name} has two rows named")
            for row in section.rows:
                if not 1 <= row.seats <= MOST_SEATS - len(ids):
                    where = f"row {row.name} of the section {section.name}"
                    raise HallError(f"{where} has {row.seats} seats; a hall has 1 to {MOST_SEATS:,}, and each row one")
                ids += [f"{section.name}-{row.name}-{number}" for number in range(1, row.seats + 1)]
                rows.append(len(ids))
            if sections[-1] == len(ids):
                raise HallError(f"the section {section.name} has no row")
            sections.append(len(ids))
        if not ids:
            raise HallError("it has no section")
        names = tuple(section.name for section in told.sections)
        _insist_on_different(names, "two sections are named")
        _insist_on_different(ids, "two seats have the id")
        row_names = tuple(row.name for section in told.sections for row in section.rows)
        return cls(names, row_names, tuple(ids), np.array(sections), np.array(rows))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The index of each id."""
        return {seat: number for number, seat in enumerate(self.ids)}

    @cached_property
    def section_of(self) -> Indices:
        """The number of each seat's section."""
        return np.repeat(np.arange(len(self.section_names)), np.diff(self.section_starts))

    @cached_property
    def row_of(self) -> Indices:
        """The number of each seat's row, counted through the whole hall."""
        return np.repeat(np.arange(len(self.row_starts) - 1), np.diff(self.row_starts))

    @cached_property
    def rank(self) -> Indices:
        """Each seat's place in the order of the best: 0 is the best seat of the hall.

        The seats of a row, and so those of a section, have the same places there as in the hall's order.
        """
        start, width = self.row_starts[self.row_of], np.diff(self.row_starts)[self.row_of]
        position = np.arange(len(self)) - start
        best_first = np.lexsort((position, np.abs(2 * position - (width - 1)), self.row_of))
        rank = np.empty(len(self), np.int64)
        rank[best_first] = np.arange(len(self))
        return rank

    def section(self, name: str | None) -> tuple[int, int]:
        """The first index of a section, and the one after its last; of the whole hall for None.

        Raises HallError for a section that the hall does not have.
        """
        if name is None:
            return 0, len(self)
        if name not in self.section_names:
            raise HallError(f"the hall has no section {name}")
        number = self.section_names.index(name)
        return int(self.section_starts[number]), int(self.section_starts[number + 1])

    def are_neighbours(self, seats: Sequence[int]) -> bool:
        """Whether these seats, in any order, are next to each other in one row, each once."""
        low, high = min(seats), max(seats)
        return len(set(seats)) == len(seats) == high - low + 1 and bool(self.row_of[low] == self.row_of[high])

    def best(self, free: NDArray[np.bool_], quantity: int, *, together: bool, section: str | None) -> list[int] | None:
        """The best free seats by their definition, in the hall's order; None where there are not that many.

        ``free`` says of each seat whether it is. Looks at every seat: it is to compare with, not for every sale.
        """
        low, high = self.section(section)
        if not together:
            best_first = np.argsort(self.rank[low:high], kind="stable") + low
            found = best_first[free[best_first]][:quantity]
            return sorted(found.tolist()) if len(found) == quantity else None
        for start, end in zip(self.row_starts[:-1].tolist(), self.row_starts[1:].tolist(), strict=True):
            if low <= start < high:
                windows = [
                    (abs(2 * at + quantity - (end - start)), at)
                    for at in range(end - start - quantity + 1)
                    if free[start + at : start + at + quantity].all()
                ]
                if windows:
                    first = start + min(windows)[1]
                    return list(range(first, first + quantity))
        return None

    def states(self, packed: str) -> States:
        """The state of each seat (FREE, HELD, SOLD) from a map: two bits a seat, in base64.

        Raises HallError where it is no map of so many seats.
        """
        try:
            told = np.frombuffer(base64.b64decode(packed, validate=True), np.uint8)
        except (binascii.Error, ValueError) as error:
            raise HallError(f"the map is no base64: {error}") from error
        if len(told) != -(-len(self) // 4):
            raise HallError(f"the map has {len(told)} bytes; {len(self)} seats need {-(-len(self) // 4)}")
        each: States = ((told[:, None] >> np.array([6, 4, 2, 0], np.uint8)) & np.uint8(3)).ravel()
        if (each[: len(self)] > SOLD).any() or each[len(self) :].any():
            raise HallError("the map has a state that is none, or something behind its last seat")
        return each[: len(self)]

    def packed(self, states: States) -> str:
        """The map of these states, as a service shows it."""
        padded = np.zeros(-(-len(self) // 4) * 4, np.uint8)
        padded[: len(self)] = states
        four = padded.reshape(-1, 4)
        whole = (four[:, 0] << 6) | (four[:, 1] << 4) | (four[:, 2] << 2) | four[:, 3]
        return base64.b64encode(whole.astype(np.uint8).tobytes()).decode()


def _insist_on_different(names: Sequence[str], why: str) -> None:
    met: set[str] = set()
    for name in names:
        if name in met:
            raise HallError(f"{why} {name}")
        met.add(name)
