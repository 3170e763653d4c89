"""Locks on a row, a table and a whole database; and the buyers who have to wait for each other under each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.lessons.common.figures import Span, Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.lock_kinds.sale import ShopSale, sell, who_must_wait
from workers.lessons.lock_kinds.sqlite_shop import BEGINNINGS, SqliteShop, last_ticket

TICKETS = 1
_TABLE_NAMES = ("concerts", "plays")


def events_in_tables(count: int) -> dict[str, str]:
    """The events, dealt to two tables: concert 1, play 1, concert 2 …"""
    return {f"{_TABLE_NAMES[n % 2][:-1]} {n // 2 + 1}": _TABLE_NAMES[n % 2] for n in range(count)}


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    tables = events_in_tables(settings["events"])
    waits: dict[str, dict[str, tuple[int, int]]] = {}
    sales: dict[str, ShopSale] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in SqliteShop.kinds:
            progress(f"SQLite, lock: {kind}")
            for purpose in ("waits", "sale"):
                (Path(folder) / purpose).mkdir(exist_ok=True)
            waits[kind] = who_must_wait(SqliteShop(kind, tables, TICKETS, Path(folder) / "waits"), tables)
            for_sale = SqliteShop(kind, tables, TICKETS, Path(folder) / "sale")
            sales[kind] = sell(for_sale, tables, settings["buyers"], settings["think_ms"] / 1e3)
        progress("how a transaction of SQLite begins")
        began = {beginning: last_ticket(beginning, Path(folder)) for beginning in BEGINNINGS}
    return LessonResult(
        holds=_holds(tables, waits, sales, began),
        measured=_measured(tables, waits, sales, began),
        tables=_tables(tables, waits, sales, began),
        figures=[_timeline(sales)],
        facts={"others": len(tables) - 1, "second_after_begin": began["BEGIN"][0]},
    )


Waits = Mapping[str, Mapping[str, tuple[int, int]]]
Began = Mapping[str, tuple[str, str, int]]


def _others(waits: Waits, kind: str) -> int:
    """The number of buyers of other events who must wait while one buyer thinks."""
    return waits[kind]["same table"][0] + waits[kind]["other table"][0]


def _holds(tables: Mapping[str, str], waits: Waits, sales: Mapping[str, ShopSale], began: Began) -> bool:
    same_table = sum(table == tables[next(iter(tables))] for table in tables.values()) - 1
    others = {"none": 0, "row": 0, "table": same_table, "database": len(tables) - 1}
    tickets = TICKETS * len(tables)
    return (
        all(_others(waits, kind) == expected for kind, expected in others.items())
        and all(waits[kind]["same event"] == (int(kind != "none"), 1) for kind in waits)
        and all(sale.sold == tickets for kind, sale in sales.items() if kind != "none")
        and sales["none"].sold > tickets
        and sales["database"].most_inside == 1 < sales["row"].most_inside <= len(tables)
        and sales["table"].most_inside <= len(set(tables.values()))
        and all((sold == 2) == (beginning == "no transaction") for beginning, (_, _, sold) in began.items())
    )


def _measured(tables: Mapping[str, str], waits: Waits, sales: Mapping[str, ShopSale], began: Began) -> dict[str, Any]:
    measured: dict[str, Any] = {"events": len(tables), "tickets": TICKETS * len(tables)}
    for kind, sale in sales.items():
        oversold = max(0, sale.sold - TICKETS * len(tables))
        measured |= keyed(kind, others_must_wait=_others(waits, kind), sold=sale.sold, oversold=oversold)
        measured |= keyed(kind, most_inside=sale.most_inside, ms=sale.seconds * 1e3)
    for beginning, (_, _, sold) in began.items():
        measured |= keyed(beginning.lower(), last_ticket_sold=sold)
    return measured


def _tables(tables: Mapping[str, str], waits: Waits, sales: Mapping[str, ShopSale], began: Began) -> list[Table]:
    def kept_out(kind: str, kinship: str) -> str:
        return "{} / {}".format(*waits[kind][kinship])

    return [
        Table(
            "One buyer thinks: who else must wait?",
            ["lock", "for the same event", "for the rest of its table", "for those of another table"],
            [[kind, *(kept_out(kind, kinship) for kinship in waits[kind])] for kind in waits],
        ),
        Table(
            "All at once",
            ["lock", "tickets", "sold", "inside at once", "all done after (ms)"],
            [
                [kind, TICKETS * len(tables), sale.sold, sale.most_inside, round(sale.seconds * 1e3)]
                for kind, sale in sales.items()
            ],
        ),
        Table(
            "What SQLite offers: two buyers of the last ticket",
            ["it begins with", "the second buyer", "who only looks", "sold"],
            [[beginning, *happened] for beginning, happened in began.items()],
        ),
    ]


def _timeline(sales: Mapping[str, ShopSale]) -> Timeline:
    lanes: dict[str, list[Span]] = {}
    for kind in ("row", "table", "database"):
        for event, spans in sales[kind].inside.items():
            last = max(span.start_s for span in spans)
            lanes[f"{kind}, {event}"] = [Span(0, last, style="wait"), *spans]
    return Timeline(
        "Purchases of each event, by what one lock covers", lanes, {"good": "a purchase", "wait": "buyers wait"}
    )
