"""What a hall's seats are and which are the best, written out naively: for the oracle and for histories made up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

Hall = dict[str, Any]


def rows_of(hall: Hall, section: str | None = None) -> Iterator[list[str]]:
    """The seats of each row, of one section or of all."""
    for each in hall["sections"]:
        if section in (None, each["name"]):
            for row in each["rows"]:
                yield [f"{each['name']}-{row['name']}-{number}" for number in range(1, row["seats"] + 1)]


def seats_of(hall: Hall, section: str | None = None) -> list[str]:
    return [seat for row in rows_of(hall, section) for seat in row]


def best(hall: Hall, taken: set[str], quantity: int, together: bool, section: str | None) -> list[str] | None:
    """The best of the free seats, in the hall's order; None where there are none that fit."""
    chosen: list[str] = []
    for row in rows_of(hall, section):
        middle = (len(row) - 1) / 2
        if together:
            starts = [at for at in range(len(row) - quantity + 1) if not taken & set(row[at : at + quantity])]
            if starts:
                start = min(starts, key=lambda at: (abs(at + (quantity - 1) / 2 - middle), at))
                return row[start : start + quantity]
        else:
            free = [at for at in range(len(row)) if row[at] not in taken]
            free.sort(key=lambda at: (abs(at - middle), at))
            chosen += [row[at] for at in free]
    if together or len(chosen) < quantity:
        return None
    return [seat for seat in seats_of(hall) if seat in chosen[:quantity]]


def map_of(hall: Hall, held: set[str], sold: set[str]) -> str:
    """The map with these seats held and sold, two bits each."""
    bits = "".join("01" if seat in held else "10" if seat in sold else "00" for seat in seats_of(hall))
    bits += "0" * (-len(bits) % 8)
    return base64.b64encode(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))).decode()
