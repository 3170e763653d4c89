"""The plainest shop that does not oversell (Flask, filelock): a lock around reading, changing and writing a file.

    echo '{"left": 100, "orders": []}' > tickets.json
    python examples/plain_shop.py 8080
    curl -d '{"quantity":1}' -H 'Content-Type: application/json' http://127.0.0.1:8080/buy

Right among all processes of a host, while none is killed in the middle of writing; nothing is synced to the disk, so
a power cut may take sales that buyers have an answer for. A file without a list of orders is a counter and nothing
else. ``lastseat bench`` measures both: it is what the office is compared with.
"""

import json
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock
from flask import Flask, request

TICKETS = Path("tickets.json")

app = Flask(__name__)
lock = FileLock("tickets.json.lock")


@app.post("/buy")
def buy() -> tuple[dict[str, Any], int]:
    quantity = request.get_json()["quantity"]
    with lock:
        with TICKETS.open() as file:
            shop = json.load(file)
        if shop["left"] < quantity:
            return {"error": "sold out", "left": shop["left"]}, 409
        shop["left"] -= quantity
        if "orders" in shop:
            shop["orders"].append({"order": len(shop["orders"]) + 1, "quantity": quantity})
        with TICKETS.open("w") as file:
            json.dump(shop, file)
    return {"quantity": quantity, "left": shop["left"]}, 201


@app.get("/")
def look() -> dict[str, Any]:
    with lock, TICKETS.open() as file:
        return {"left": json.load(file)["left"]}


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
