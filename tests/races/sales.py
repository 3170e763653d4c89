"""A sale to a crowd: real processes with threads or greenlets in them, in the shape of each worker model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from servers import address_of, settings_of

from service.rules.inventory import Event
from service.stores import open_store

CAPACITY = 30
THINK_MS = 2
LEAK = 0.5
"""How often guard ``leaky`` lets somebody in."""
LONG_LEASE_MS, SHORT_LEASE_MS = 30_000, 1
"""A lease that nobody outlasts, and one that is over before who has it has thought."""
PATIENCE_S = 60
BUYERS = Path(__file__).with_name("buyers.py")


class Crowd(NamedTuple):
    """Who buys at once: in so many processes so many ``threads`` or ``greenlets``."""

    how: str
    processes: int
    buyers: int


CROWDS = {
    "sync × 4": Crowd("threads", 4, 1),
    "gthread × 1": Crowd("threads", 1, 8),
    "gthread 2 × 4": Crowd("threads", 2, 4),
    "gevent × 1": Crowd("greenlets", 1, 8),
    "gevent × 2": Crowd("greenlets", 2, 4),
}


class Sale(NamedTuple):
    """What buyers were told, and what the store has of it afterwards."""

    acknowledged: int
    booked_twice: int
    lost: int
    recorded: int
    problems: set[str]

    @property
    def exact(self) -> bool:
        """Sold to the last seat, each once, and the store knows of every one."""
        return self.acknowledged == self.recorded == CAPACITY and not self.booked_twice and not self.lost

    @property
    def wrong(self) -> bool:
        return self.acknowledged > CAPACITY or self.booked_twice > 0 or self.lost > 0


def hold_sale(data: Path, guard: str, store: str, crowd: Crowd, batch: int, *, lease_ms: int = LONG_LEASE_MS) -> Sale:
    """Sell ``CAPACITY`` tickets to a crowd whose buyers think 2 ms before they write."""
    opened = open_store(settings_of(store, data))
    opened.create(Event("show", "Show", CAPACITY, lab=True))
    running: list[subprocess.Popen[str]] = []
    try:
        for number in range(crowd.processes):
            wanted = {
                "data": str(data), "store": store, "store_url": address_of(store, data),
                "guard": guard, "lease_ms": lease_ms, "how": crowd.how, "processes": crowd.processes,
                "batch": batch, "think_ms": THINK_MS, "leak": LEAK, "buyers": crowd.buyers, "name": str(number),
                "capacity": CAPACITY,
            }  # fmt: skip
            running.append(
                subprocess.Popen(
                    [sys.executable, str(BUYERS), json.dumps(wanted)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [json.loads(process.communicate(timeout=PATIENCE_S)[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    recorded = (
        [record.order for record in opened.audit("show")[1]]
        if opened.scope != "process"
        else [order for each in told for order in each["recorded"]]
    )
    orders = [order for each in told for order, _ in each["sold"]]
    tickets = [ticket for each in told for _, numbers in each["sold"] for ticket in numbers]
    return Sale(
        acknowledged=len(tickets),
        booked_twice=len(tickets) - len(set(tickets)),
        lost=len(set(orders) - set(recorded)),
        recorded=len(recorded),
        problems={code for each in told for code in each["problems"]},
    )
