"""Two experiments on a shop: which buyers must wait for one who thinks, and a sale to all buyers at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from workers.lessons.common.computing import most_at_once
from workers.lessons.common.figures import Span
from workers.lessons.common.processes import running
from workers.lessons.lock_kinds.sqlite_shop import MustWait, SqliteShop

_MOMENT_S = 0.1
_HOLDER_WITHIN_S = 10.0


@dataclass(slots=True)
class ShopSale:
    """The outcome of a sale under one kind of lock."""

    sold: int = 0
    refused: int = 0
    seconds: float = 0.0
    most_inside: int = 0
    inside: dict[str, list[Span]] = field(default_factory=dict)


def who_must_wait(shop: SqliteShop, tables: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """One buyer thinks in the middle of a purchase; meanwhile a buyer of each event tries to buy without waiting.

    Returns (buyers who would have to wait, all buyers) for the same event, the rest of its table, and the other table.
    """
    first = next(iter(tables))
    thinks, thought = threading.Event(), threading.Event()

    def think() -> None:
        thinks.set()
        thought.wait()

    holder = threading.Thread(target=shop.buy, args=(first, think, 0), daemon=True)
    with running([holder], thought.set):
        if not thinks.wait(_HOLDER_WITHIN_S):
            raise RuntimeError("the first buyer never got in")
        counts = {"same event": [0, 0], "same table": [0, 0], "other table": [0, 0]}
        for event, table in tables.items():
            kinship = "same event" if event == first else "same table" if table == tables[first] else "other table"
            counts[kinship][0] += _is_kept_out(shop, event)
            counts[kinship][1] += 1
    return {kinship: (kept_out, tried) for kinship, (kept_out, tried) in counts.items()}


class _LookedOnly(Exception):
    """The buyer was let in, and goes without buying."""


def _is_kept_out(shop: SqliteShop, event: str) -> bool:
    def give_up() -> None:
        raise _LookedOnly

    try:
        shop.buy(event, give_up, 0)
    except MustWait:
        return True
    except _LookedOnly:
        return False
    raise RuntimeError("a purchase ended without thinking")


def sell(shop: SqliteShop, tables: Mapping[str, str], buyers: int, think_s: float) -> ShopSale:
    """All buyers of all events come at once, a thread each; each waits for its turn."""
    sale, mutex, stop = ShopSale(inside={event: [] for event in tables}), threading.Lock(), threading.Event()
    start = threading.Barrier(buyers * len(tables) + 1)
    opened = 0.0

    def buy(event: str) -> None:
        def think() -> None:
            entered = time.perf_counter() - opened
            time.sleep(think_s)
            sale.inside[event].append(Span(entered, time.perf_counter() - opened, style="good"))

        with contextlib.suppress(threading.BrokenBarrierError):
            start.wait()
        while not stop.is_set():
            with contextlib.suppress(MustWait):
                got_one = shop.buy(event, think, _MOMENT_S)
                with mutex:
                    sale.sold += got_one
                    sale.refused += not got_one
                return

    threads = [threading.Thread(target=buy, args=(event,), daemon=True) for event in tables for _ in range(buyers)]
    with running(threads, stop.set, start.abort):
        opened = time.perf_counter()
        start.wait()
        for thread in threads:
            thread.join()
    sale.seconds = time.perf_counter() - opened
    sale.most_inside = most_at_once((span.start_s, span.end_s) for spans in sale.inside.values() for span in spans)
    return sale
