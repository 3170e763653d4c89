"""A theatre whose buyers choose their seats (Flask on waitress): book a seat, then pay for it.

    SHOP=wrong python examples/seat_shop.py 8080

A booking that is not paid can be given back; with ``CARDS="some refused"`` that happens. With ``SHOP=wrong`` two who
book one seat at the same moment both have it.
"""

import contextlib
import itertools
import os
import sys
import threading
import time
from typing import Any

from flask import Flask, jsonify, request
from waitress import serve

app = Flask(__name__)
one_at_a_time = threading.Lock() if os.environ.get("SHOP") != "wrong" else contextlib.nullcontext()
numbers = itertools.count(1)
shows: dict[int, dict[str, str]] = {}
bookings: dict[int, dict[str, Any]] = {}


@app.post("/halls")
def make_hall() -> Any:
    return jsonify(hall={"rows": request.json["rows"], "id": request.json["rows"]}), 201


@app.post("/shows")
def make_show() -> Any:
    show = next(numbers)
    shows[show] = {f"{row}{seat}": "free" for row in "ABCDE"[: request.json["hall"]] for seat in range(1, 11)}
    return jsonify(data={"id": show}), 201


@app.get("/shows/<int:show>/seats")
def seats(show: int) -> Any:
    return jsonify(seats=[{"id": seat, "status": status} for seat, status in shows[show].items()])


@app.post("/shows/<int:show>/bookings")
def book(show: int) -> Any:
    seat = request.json["seat"]
    with one_at_a_time:
        if shows[show][seat] != "free":
            return jsonify(error="this seat is taken"), 409
        time.sleep(0.003)  # somebody else may look now, unless there is a lock
        shows[show][seat] = "booked"
        booking = next(numbers)
        bookings[booking] = {"id": booking, "show": show, "seat": seat, "state": "booked", "by": request.json["member"]}
    return jsonify(booking=booking), 201


@app.post("/bookings/<int:booking>/payment")
def pay(booking: int) -> Any:
    if os.environ.get("CARDS") == "some refused" and request.form["card"].endswith("2"):
        return jsonify(error="the card was refused"), 402
    bookings[booking]["state"] = "paid"
    return jsonify(order=booking, seat=bookings[booking]["seat"])


@app.delete("/bookings/<int:booking>")
def give_back(booking: int) -> Any:
    with one_at_a_time:
        gone = bookings.pop(booking)
        shows[gone["show"]][gone["seat"]] = "free"
    return "", 204


@app.get("/shows/<int:show>/orders")
def orders(show: int) -> Any:
    return jsonify(orders=[each for each in list(bookings.values()) if each["show"] == show])


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=32, _quiet=True)
