"""A shop that takes orders and decides later (Flask on waitress): ask, then ask how it went.

    SHOP=wrong python examples/queue_shop.py 8080

An order is accepted at once (202) and put into a line; clerks decide it. With ``SHOP=wrong`` four clerks decide side by
side, without a lock; else there is one.
"""

import itertools
import os
import queue
import sys
import threading
import time
from typing import Any

from flask import Flask, jsonify, request
from waitress import serve

app = Flask(__name__)
stock = {"all": 0, "sold": 0}
orders: dict[int, dict[str, Any]] = {}
line: queue.SimpleQueue[int] = queue.SimpleQueue()
numbers = itertools.count(1)


def decide() -> None:
    while True:
        order = line.get()
        sold = stock["sold"]
        if sold >= stock["all"]:
            orders[order]["state"] = "refused"
            continue
        time.sleep(0.002)  # another clerk may look now, if there is one
        stock["sold"] = sold + 1
        orders[order]["state"] = "confirmed"


@app.put("/stock")
def restock() -> Any:
    stock.update(all=request.json["all"], sold=0)
    return jsonify(stock)


@app.get("/stock")
def look() -> Any:
    return jsonify(stock)


@app.post("/orders")
def order() -> Any:
    number = next(numbers)
    orders[number] = {"id": number, "state": "waiting"}
    line.put(number)
    return jsonify(orders[number]), 202, {"Location": f"/orders/{number}"}


@app.get("/orders/<int:number>")
def state(number: int) -> Any:
    return jsonify(orders[number])


if __name__ == "__main__":
    for _ in range(4 if os.environ.get("SHOP") == "wrong" else 1):
        threading.Thread(target=decide, daemon=True).start()
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=32, _quiet=True)
