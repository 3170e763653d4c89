"""Halls: sections with rows of seats, which seats are the best, and which are free. Pure, like ``inventory``.

A hall never changes, and its name is the hash of its content. Its seats stand in one order: the sections and their rows
as they were given, the numbers ascending. A seat's *index* in this order counts from 0; what is stored and sent of a
seat's state stands at its index. Its *id* is ``<section>-<row>-<number>``, as in ``stalls-C-12``. Neighbours are two
seats of one row whose numbers follow one another.

The *best* seats are those of the first section, in it of the first row, in it those nearest to the middle, and of two
that are equally near the one with the lower number. It is fixed, so that others can check what was given.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice, product
from string import ascii_uppercase, hexdigits

import msgspec

FREE, HELD, SOLD = 0, 1, 2
"""The states of a seat, a byte each."""
MOST_SEATS = 100_000


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    seats: int
    """They have the numbers from 1 on."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    rows: tuple[Row, ...]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hall as it is stored and shown."""

    sections: tuple[Section, ...]


class Hall:
    """A plan, and where each seat stands in it. Nobody changes it."""

    def __init__(self, plan: Plan) -> None:
        """Errors: ``ValueError`` for a plan without seats, with over ``MOST_SEATS``, or with two seats of one id."""
        rows = [(each.name, f"{each.name}-{row.name}", row.seats) for each in plan.sections for row in each.rows]
        sizes = [seats for _, _, seats in rows]
        if not rows or min(sizes) < 1:
            raise ValueError("every section has at least one row, and every row at least one seat")
        if sum(sizes) > MOST_SEATS:
            raise ValueError(f"it has {sum(sizes)} seats, and a hall has at most {MOST_SEATS}")
        self.plan = plan
        self.encoded = msgspec.json.encode(plan)
        self.name = hashlib.sha256(self.encoded).hexdigest()
        self.size = sum(sizes)
        self._names = [name for _, name, _ in rows]
        self._starts = [0, *accumulate(sizes)]
        self._row = {name: number for number, name in enumerate(self._names)}
        self._rows_of: dict[str, range] = {}
        for number, (section, _, _) in enumerate(rows):
            before = self._rows_of.get(section, range(number, number))
            self._rows_of[section] = range(before.start, number + 1)
        # Whole ids: row "b-c" of section "a" and row "c" of section "a-b" would have the same.
        if len(self._row) < len(rows):
            twice = next(name for name in self._names if self._names.count(name) > 1)
            raise ValueError(f"two rows have seats of the same ids, {twice}-1 and so on")
        if len(self._rows_of) < len(plan.sections):
            raise ValueError("two sections have the same name, or one has no row")

    def index(self, seat: str) -> int | None:
        """Where the seat of an id stands; None where there is none."""
        name, _, number = seat.rpartition("-")
        row = self._row.get(name)
        if row is None or not (number.isascii() and number.isdigit()) or number[0] == "0" or len(number) > 6:
            return None
        index = self._starts[row] + int(number) - 1
        return index if index < self._starts[row + 1] else None

    def seat(self, index: int) -> str:
        """The id of the seat that stands there."""
        row = bisect.bisect_right(self._starts, index) - 1
        return f"{self._names[row]}-{index - self._starts[row] + 1}"

    def missing(self, seats: Iterable[str]) -> tuple[str, ...]:
        """Those of the ids that no seat has."""
        return tuple(seat for seat in seats if self.index(seat) is None)

    def has(self, section: str) -> bool:
        """Whether there is such a section; the empty name stands for the whole hall."""
        return not section or section in self._rows_of

    def span(self, section: str) -> tuple[int, int]:
        """From which index and up to which a section stands; the empty name stands for the whole hall."""
        rows = self._rows(section)
        return self._starts[rows.start], self._starts[rows.stop]

    def rows(self, section: str) -> Iterator[tuple[int, int]]:
        """The first index and the number of seats of each row of a section, or of the whole hall."""
        return ((self._starts[row], self._starts[row + 1] - self._starts[row]) for row in self._rows(section))

    def longest_row(self, section: str) -> int:
        return max(seats for _, seats in self.rows(section))

    def best(
        self, states: bytes | bytearray, quantity: int, section: str = "", *, together: bool = False
    ) -> list[int] | None:
        """The indices of the best free seats in a section, or in the whole hall, ascending. None if too few are free,
        or, where they are wanted ``together``, if there are not as many free neighbours.

        ``states`` has the state of each seat at its index.
        """
        return self._neighbours(states, quantity, section) if together else self._nearest(states, quantity, section)

    def _rows(self, section: str) -> range:
        return self._rows_of[section] if section else range(len(self._names))

    def _nearest(self, states: bytes | bytearray, quantity: int, section: str) -> list[int] | None:
        found: list[int] = []
        for start, seats in self.rows(section):
            if states.find(FREE, start, start + seats) >= 0:
                free = (start + at for at in _from_the_middle(seats) if not states[start + at])
                found += islice(free, quantity - len(found))
                if len(found) == quantity:
                    return sorted(found)
        return None

    def _neighbours(self, states: bytes | bytearray, quantity: int, section: str) -> list[int] | None:
        wanted = bytes(quantity)
        for start, seats in self.rows(section):
            if states.find(wanted, start, start + seats) < 0:
                continue
            windows = (at for at in range(seats - quantity + 1) if states.startswith(wanted, start + at))
            first = start + min(windows, key=lambda at: (abs(2 * at + quantity - seats), at))
            return list(range(first, first + quantity))
        return None


def _from_the_middle(seats: int) -> list[int]:
    """The places of a row, counted from 0, those nearest to its middle first."""
    return sorted(range(seats), key=lambda at: (abs(2 * at + 1 - seats), at))


def row_names(count: int) -> Iterator[str]:
    """A to Z, then AA and so on."""
    names = ("".join(letters) for length in itertools.count(1) for letters in product(ascii_uppercase, repeat=length))
    return islice(names, count)


def packed(states: bytes | bytearray) -> bytes:
    """Two bits a seat, the first seat in the highest two of the first byte; zeros fill the last byte up."""
    whole = bytes(states) + bytes(-len(states) % 4)
    # As four long numbers: a step of Python for each seat would cost more than all else of a purchase.
    highest, higher, lower, lowest = (int.from_bytes(whole[place::4]) for place in range(4))
    return (highest << 6 | higher << 4 | lower << 2 | lowest).to_bytes(len(whole) // 4)


def unpacked(content: bytes) -> bytes:
    """The states from what ``packed`` made of them, with up to three zeros behind them."""
    pairs = content.hex().encode()
    states = bytearray(2 * len(pairs))
    states[0::2], states[1::2] = pairs.translate(_FIRST), pairs.translate(_SECOND)
    return bytes(states)


def _of_a_digit(shift: int) -> bytes:
    """For each hexadecimal digit, which is two seats, the state of one of them."""
    return bytes(int(chr(each), 16) >> shift & 3 if chr(each) in hexdigits else 0 for each in range(256))


_FIRST, _SECOND = _of_a_digit(2), _of_a_digit(0)
