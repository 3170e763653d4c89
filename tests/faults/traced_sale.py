"""A sale to be traced: ``python traced_sale.py '{"data": …, "store": …, "answers": …}'``.

Opens the office as gunicorn would and lets buyers buy, cancel and look, and the admin make and remove events. Every
answer is written, by one call, to the file ``answers`` at the moment at which it would leave: that call stands in the
trace among those of the store. With ``processes`` above 1 the buyers are spread over so many.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SMALL = 4
"""Records in a segment, and in the head of a document; pages in SQLite's log before it goes into the database: so that
all of this happens in a sale."""


def make_small() -> None:
    """Let what a store does now and then, and that is where it may go wrong, happen every few purchases."""
    from service.stores.journal import ledger
    from service.stores.json import document
    from service.stores.sqlite import connections

    whole = connections.open_connection

    def open_small(path: Path) -> sqlite3.Connection:
        connection = whole(path)
        connection.execute(f"PRAGMA wal_autocheckpoint={3 * SMALL}")
        return connection

    ledger.SEGMENT_RECORDS = document.RECENT = SMALL
    connections.open_connection = open_small


class Sale:
    def __init__(self, wanted: dict[str, Any]) -> None:
        from service.app import create_app
        from service.settings import Settings

        self._answers = os.open(wanted["answers"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        settings = Settings(
            data=Path(wanted["data"]), store=wanted["store"], first_event=("show", 60), batch=wanted.get("batch")
        )
        self.app = create_app(settings)
        self._admin = {"Authorization": f"Bearer {(settings.data / 'admin-token').read_text().strip()}"}
        self._tell("GET", "show", {"version": 0})

    def call(self, method: str, event: str, path: str = "", key: str = "", content: Any = None) -> Any:
        """One request, and its answer written down where it would leave."""
        headers = self._admin | ({"Idempotency-Key": key} if key else {})
        address = f"/events/{event}{path}" if path != "new" else "/events"
        answer = self.app.test_client().open(address, method=method, headers=headers, json=content)
        if answer.status_code >= 400:
            raise SystemExit(f"{method} {address}: {answer.text}")
        if answer.mimetype == "application/x-ndjson":
            records = [json.loads(line) for line in answer.text.splitlines()]
            self._tell(method, event, {"audit": records, "version": records[0]["versions"]})
            return records
        told = answer.get_json(silent=True)
        self._tell(method, event, told or {})
        return told

    def create(self, event: str) -> None:
        self.call("POST", event, "new", content={"event": event, "capacity": 4})

    def buy(self, name: str, count: int, quantity: int = 1) -> None:
        for number in range(count):
            self.call("POST", "show", "/orders", key=f"{name}-{number}", content={"quantity": quantity})

    def hold(self, key: str, quantity: int, seconds: float = 3600) -> str:
        """The path of the hold; where it lasts for next to nothing, it has run out by then."""
        content = {"quantity": quantity, "seconds": seconds}
        answer = self.call("POST", "show", "/holds", key=key, content=content)
        if seconds < 1:
            while datetime.now(UTC) <= datetime.fromisoformat(answer["expires_at"]):
                time.sleep(seconds)
        return f"/holds/{answer['hold']}"

    def buy_cart(self, key: str, **items: int) -> None:
        """A cart, told event by event, as if each answer were one of its own."""
        content = {"items": [{"event": event, "quantity": quantity} for event, quantity in items.items()]}
        headers = self._admin | {"Idempotency-Key": key}
        answer = self.app.test_client().post("/carts", headers=headers, json=content)
        if answer.status_code != 201:
            raise SystemExit(f"cart {key}: {answer.text}")
        for order in answer.get_json()["orders"]:
            self._tell("POST", order["event"], order)

    def _tell(self, method: str, event: str, answer: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps({"method": method, "event": event, "answer": answer}).encode() + b"\n")


def alone(sale: Sale, _: dict[str, Any]) -> None:
    """One buyer after the other, and the admin."""
    sale.buy("ann", 2)
    order = sale.call("POST", "show", "/orders", key="bob", content={"quantity": 3})["order"]
    sale.call("DELETE", "show", f"/orders/{order}", key="bob-not")
    sale.create("gala")
    sale.call("POST", "gala", "/orders", key="gil", content={"quantity": 2})
    sale.call("GET", "gala", "/audit")
    sale.create("flop")
    sale.call("POST", "flop", "/orders", key="flo", content={"quantity": 1})
    sale.call("GET", "flop", "/audit")
    sale.call("DELETE", "flop", "?even_if_sold=1")
    sale.buy("eve", 2)


def together(sale: Sale, wanted: dict[str, Any]) -> None:
    """Several buyers at once in several processes."""
    name = wanted.get("name", "p0")
    others = []
    if name == "p0":
        for number in range(1, wanted["processes"]):
            told = json.dumps(wanted | {"name": f"p{number}"})
            others.append(subprocess.Popen([sys.executable, __file__, told]))
    buyers = [threading.Thread(target=sale.buy, args=(f"{name}-{each}", wanted["each"])) for each in range(3)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    sale.call("GET", "show")
    if any(other.wait(60) for other in others):
        raise SystemExit("another process of buyers failed")


def carts(sale: Sale, _: dict[str, Any]) -> None:
    """Carts over two events, and others who buy in between."""
    sale.create("gala")
    sale.buy_cart("first", show=1, gala=1)
    sale.buy("ann", 1)
    sale.buy_cart("second", gala=1, show=2)
    sale.buy_cart("third", show=1, gala=1)
    sale.call("GET", "gala", "/audit")


def holds(sale: Sale, _: dict[str, Any]) -> None:
    """Holds that are confirmed, released, run out, and confirmed too late; one is open at the end."""
    path = sale.hold("ann", 2)
    sale.call("POST", "show", f"{path}/confirm", key="ann-pays")
    path = sale.hold("bob", 1)
    sale.call("DELETE", "show", path, key="bob-goes")
    late = sale.hold("cat", 1, seconds=0.001)
    sale.buy("dan", 1)
    sale.call("POST", "show", f"{late}/confirm", key="cat-pays")
    sale.hold("eve", 3)
    sale.buy("fay", 1)


HOW: dict[str, Callable[[Sale, dict[str, Any]], None]] = {
    "alone": alone,
    "together": together,
    "carts": carts,
    "holds": holds,
}


def main(wanted: dict[str, Any]) -> None:
    make_small()
    sale = Sale(wanted)
    HOW[wanted["how"]](sale, wanted)
    if wanted.get("name", "p0") == "p0":
        sale.call("GET", "show", "/audit")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
