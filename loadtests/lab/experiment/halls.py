"""Halls that are described in files: the bodies that ``POST /events`` takes, and how many seats they have.

What a hall means (ids, order, neighbours) is in ``protocol.halls``; here it only has to be told to an office.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from loadtests.lab.paths import EXAMPLES
from loadtests.lab.protocol.halls import MOST_SEATS
from loadtests.lab.untrusted import NOT_JSON, read_file

HALLS = EXAMPLES / "halls"

_Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_SEATS)]


class _GivenRow(msgspec.Struct):
    seats: _Count


class _GivenSection(msgspec.Struct):
    rows: _Count | Annotated[list[_GivenRow], msgspec.Meta(min_length=1)]
    seats: _Count | None = None

    @property
    def size(self) -> int:
        return sum(row.seats for row in self.rows) if isinstance(self.rows, list) else self.rows * (self.seats or 0)


class _Hall(msgspec.Struct):
    sections: Annotated[list[_GivenSection], msgspec.Meta(min_length=1)]


class HallFile(msgspec.Struct, frozen=True):
    """A hall as a file describes it, and the number of its seats."""

    content: Any
    seats: int


def known_halls() -> list[str]:
    """The names of the halls in ``examples/halls``."""
    return sorted(path.stem for path in HALLS.glob("*.json"))


def read_hall(named: str) -> HallFile:
    """The hall of a name in ``examples/halls``, or of a file. Raises ``ValueError``; its message says what is wrong.

    The office looks at it more closely: names that cannot be, or seats of the same id, are for it to refuse.
    """
    path = HALLS / f"{named}.json" if named in known_halls() else Path(named)
    try:
        content = msgspec.json.decode(read_file(path))
        hall = msgspec.convert(content, type=_Hall)
    except OSError as error:
        known, why = ", ".join(known_halls()), error.strerror or error
        raise ValueError(f"{named!r} is neither one of {known} nor a file that can be read: {why}.") from None
    except NOT_JSON as error:
        raise ValueError(f"{named}: it is no hall: {error}.") from None
    seats = sum(section.size for section in hall.sections)
    if not 1 <= seats <= MOST_SEATS or any(section.size == 0 for section in hall.sections):
        raise ValueError(f"{named}: a hall has 1 to {MOST_SEATS:,} seats, and each section has some; it has {seats:,}.")
    return HallFile(content, seats)


class HallName(click.ParamType[str]):
    """A name in ``examples/halls``, or a file, of which the whole path is kept."""

    name = "hall"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            read_hall(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value) if value in known_halls() else str(Path(value).absolute())
