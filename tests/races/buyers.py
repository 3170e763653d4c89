"""A process full of buyers, for the race tests: ``python buyers.py '{"data": …}'``.

Opens a box office on the given data directory, waits for a line on standard input (so that several processes begin
together), lets so many threads or greenlets buy one ticket after another until nothing is left, and prints what they
were told: ``{"sold": [[order, [ticket, …]], …], "problems": {"code": count}, "recorded": [order, …]}``, the last as the
store has it when these buyers have left.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def main(wanted: dict[str, Any]) -> None:
    if wanted["how"] == "greenlets":
        from gevent import monkey

        monkey.patch_all()
    import threading

    from service.errors import Problem
    from service.rules.inventory import Event
    from service.sales.box_office import BoxOffice
    from service.settings import Settings, Think
    from service.stores import SharesSwitch, open_store
    from service.switch.engine import EngineControl
    from service.switch.shared_memory import Control

    settings = Settings(
        data=Path(wanted["data"]),
        store=wanted["store"],
        store_url=wanted["store_url"],
        lease_ms=wanted["lease_ms"],
        batch=wanted["batch"],
        lock_timeout_s=30,
        think=Think(wanted["think_ms"], wanted["think_ms"]),
        allow_unsafe=True,
        leak=wanted["leak"],
    )
    store = open_store(settings)
    control = EngineControl(store, settings.data) if isinstance(store, SharesSwitch) else Control(settings.data)
    control.start(wanted["guard"], "test", 30)
    if store.scope == "process":
        store.create(Event("show", "Show", wanted["capacity"], lab=True))
    office = BoxOffice(settings, store, control, wanted["processes"])
    sold: list[tuple[str, tuple[int, ...]]] = []
    problems: Counter[str] = Counter()

    def buy(name: str) -> None:
        # Bounded: who is still sold tickets after so many has shown enough.
        for serial in range(20 * wanted["capacity"]):
            try:
                done = office.buy("show", key=f"{name}-{serial}", request="", quantity=1, buyer=None)
                sold.append((done.record.order, done.record.tickets))
            except Problem as problem:
                problems[problem.code] += 1
                if problem.code != "contention":
                    return

    print("ready", flush=True)
    sys.stdin.readline()
    buyers = [threading.Thread(target=buy, args=(f"{wanted['name']}-{n}",)) for n in range(wanted["buyers"])]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    recorded = [record.order for record in office.audit("show")[1]]
    print(json.dumps({"sold": sold, "problems": problems, "recorded": recorded}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
