"""The list of an event's orders, for its admin: made from the whole audit each time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from service.rules.inventory import Record

COLUMNS = ("order", "status", "buyer", "quantity", "tickets", "seats", "reason", "version")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Listed(NamedTuple):
    """An order. ``version`` is that of the sale, by which the list is sorted."""

    order: str
    status: Literal["sold", "cancelled"]
    buyer: str | None
    quantity: int
    tickets: tuple[int, ...]
    seats: tuple[str, ...]
    reason: str
    version: int


def orders_in(records: Iterable[Record]) -> list[Listed]:
    """All orders, in the order in which they were sold."""
    found: dict[str, Listed] = {}
    for each in records:
        if each.kind in ("sold", "confirmed"):
            found[each.order] = Listed(
                each.order, "sold", each.buyer, each.quantity, each.tickets, each.seats, "", each.version
            )  # fmt: skip
        elif each.kind == "cancelled" and each.order in found:
            found[each.order] = found[each.order]._replace(status="cancelled", reason=each.reason)
    return list(found.values())


def matching(orders: Iterable[Listed], words: str) -> Iterator[Listed]:
    """Those whose id, buyer, seat or ticket number is, or whose buyer's name has in it, what was looked for."""
    wanted = words.casefold()
    for each in orders:
        places = {each.order, *each.seats, *map(str, each.tickets)}
        if words in places or (each.buyer is not None and wanted in each.buyer.casefold()):
            yield each


def as_csv(orders: Iterable[Listed]) -> Iterator[bytes]:
    """A table with a line an order, in UTF-8 with a mark that spreadsheets know it by.

    A name that a spreadsheet would take for a formula has an apostrophe before it.
    """
    yield b"\xef\xbb\xbf"
    yield _line(COLUMNS)
    for each in orders:
        values = each._replace(buyer=each.buyer or "")._asdict()
        values |= {"tickets": " ".join(map(str, each.tickets)), "seats": " ".join(each.seats)}
        yield _line([_harmless(str(values[name])) for name in COLUMNS])


def _line(values: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
