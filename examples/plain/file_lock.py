"""A shop that keeps a counter in a JSON file and locks around reading and writing it. Nothing is synced to the disk."""

import json
from pathlib import Path
from typing import Any

from filelock import FileLock
from flask import Flask, request

app = Flask(__name__)
lock = FileLock("shop.lock")


@app.put("/events/<event>")
def create(event: str) -> tuple[dict[str, Any], int]:
    shop = {"capacity": request.get_json()["capacity"], "sold": 0}
    with lock:
        Path(f"{event}.json").write_text(json.dumps(shop))
    return shop, 201


@app.get("/events/<event>")
def look(event: str) -> dict[str, Any]:
    with lock:
        shop: dict[str, Any] = json.loads(Path(f"{event}.json").read_text())
    return shop


@app.post("/events/<event>/orders")
def buy(event: str) -> tuple[dict[str, Any], int]:
    quantity = request.get_json()["quantity"]
    file = Path(f"{event}.json")
    with lock:
        shop = json.loads(file.read_text())
        if shop["sold"] + quantity > shop["capacity"]:
            return {"error": "sold out"}, 409
        shop["sold"] += quantity
        file.write_text(json.dumps(shop))
    return {"order": shop["sold"], "quantity": quantity, "remaining": shop["capacity"] - shop["sold"]}, 201
