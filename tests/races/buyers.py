"""A process full of buyers, for the race tests: ``python buyers.py '{"data": …}'``.

Opens a box office on the given data directory, waits for a line on standard input (so that several processes begin
together), lets so many threads or greenlets buy one ticket after another until nothing is left, and prints what they
were told: ``{"sold": [[ticket, …], …], "problems": {"code": count}}``.
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

    from service.box_office import BoxOffice
    from service.control import Control
    from service.errors import Problem
    from service.settings import Settings, Think
    from service.stores import open_store

    settings = Settings(
        data=Path(wanted["data"]),
        store=wanted["store"],
        batch=wanted.get("batch"),
        lock_timeout_s=30,
        think=Think(wanted["think_ms"], wanted["think_ms"]),
        allow_unsafe=True,
    )
    control = Control(settings.data)
    control.start(wanted["guard"], "test", 30)
    office = BoxOffice(settings, open_store(settings), control, wanted["processes"])
    sold: list[tuple[int, ...]] = []
    problems: Counter[str] = Counter()

    def buy(name: str) -> None:
        serial = 0
        while True:
            serial += 1
            try:
                done = office.buy("show", key=f"{name}-{serial}", request="", quantity=1, buyer=None)
                sold.append(done.record.tickets)
            except Problem as problem:
                problems[problem.code] += 1
                return

    print("ready", flush=True)
    sys.stdin.readline()
    buyers = [threading.Thread(target=buy, args=(f"{wanted['name']}-{n}",)) for n in range(wanted["buyers"])]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    print(json.dumps({"sold": sold, "problems": problems}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
