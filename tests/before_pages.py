"""An event of store ``json`` as the version before the pages kept it: all of its records in one document."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from service.rules.inventory import Cancel, Command, Event, Hold, Record, Release, Sell, View, decide_all

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


class DocumentBefore(msgspec.Struct):
    """What such a file holds, as it was declared there."""

    about: Event
    sold: int
    records: list[Record]
    held: int = 0


def write_as_before(data: Path, event: Event, count: int) -> list[Record]:
    """Write the file of an event with so many sales, of which one is cancelled, and two holds, of which one is open.

    Returns its records.
    """
    view = View(event)
    asked: list[Command] = [Sell(f"k{number:07d}", "r", f"o-k{number:07d}", 1) for number in range(count)]
    asked += [Hold("h", "r", "h1", 2, 60.0), Hold("i", "r", "h2", 3, 30.0), Release("j", "r", "h1")]
    decide_all(view, [*asked, Cancel("c", "r", "o-k0000001")], NOW)
    about, lines = msgspec.json.encode(event), b",\n".join(map(msgspec.json.encode, view.fresh))
    (data / "events").mkdir(parents=True)
    (data / "events" / f"{event.event}.json").write_bytes(
        b'{"about":%b,\n"sold":%d,\n"held":%d,\n"records":[\n%b\n]}\n' % (about, view.sold, view.held, lines)
    )
    return view.fresh
