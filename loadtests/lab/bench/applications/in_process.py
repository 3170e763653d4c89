"""Decisions a second without HTTP; its arguments are DATA STORE GUARD BATCH THREADS SECONDS.

Run in a process of its own. Like ``stubbed`` it knows the service by more than HTTP, for a reason: there is no other
way to sell without HTTP. Nothing of the lab imports it. It prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from service.app import create_app
from service.errors import RefusedToStart
from service.rules.inventory import Event, Record, Sell, View, decide
from service.sales.box_office import BoxOffice
from service.settings import Settings

CAPACITY = 10_000_000


def decisions_per_s(seconds: float) -> float:
    """The rules alone, on one view: no file, no lock, no line."""
    view, now, count = View(Event("show", "Show", CAPACITY)), datetime.now(UTC), 0
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        for _ in range(100):
            count += 1
            outcome = decide(view, Sell(f"k{count}", "r", f"o{count}", 1, None), now)
            if isinstance(outcome, Record):
                view.apply(outcome)
    return count / (time.perf_counter() - began)


def sales_per_s(office: BoxOffice, event: str, threads: int, seconds: float) -> float:
    """Whole purchases from several threads, durable where the store is; each key is used once."""
    began = time.perf_counter()

    def buy(number: int) -> int:
        sold = 0
        while time.perf_counter() < began + seconds:
            office.buy(event, key=f"{number}-{sold}", request="r", quantity=1, buyer=None)
            sold += 1
        return sold

    with ThreadPoolExecutor(threads) as buyers:
        sold = sum(buyers.map(buy, range(threads)))
    rate = sold / (time.perf_counter() - began)
    kept = office.look(event)[0].sold
    if kept != sold:
        raise SystemExit(f"{sold} sales were told, {kept} kept")
    return rate


def main(data: str, store: str, guard: str, *numbers: str) -> None:
    """Print the result, or the office's refusal."""
    batch, threads, seconds = numbers
    settings = Settings(data=Path(data), store=store, guard=guard, batch=int(batch), first_event=("show", CAPACITY))
    try:
        office: BoxOffice = create_app(settings).extensions["office"]
    except RefusedToStart as refused:
        print(json.dumps({"refused": str(refused)}))
        return
    sold = sales_per_s(office, "show", int(threads), float(seconds))
    print(json.dumps({"decisions_per_s": decisions_per_s(float(seconds)), "sold_per_s": sold}))


if __name__ == "__main__":
    main(*sys.argv[1:])
