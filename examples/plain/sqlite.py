"""A shop in SQLite: BEGIN IMMEDIATE, look, sell, commit. In WAL with synchronous=FULL: every commit is synced."""

import sqlite3
import threading
from typing import Any

from flask import Flask, request

app = Flask(__name__)
mine = threading.local()


def database() -> sqlite3.Connection:
    """The connection of this thread, which it keeps."""
    if not hasattr(mine, "connection"):
        mine.connection = sqlite3.connect("shop.db", timeout=30, isolation_level=None)
        mine.connection.execute("PRAGMA synchronous=FULL")
    connection: sqlite3.Connection = mine.connection
    return connection


@app.put("/events/<event>")
def create(event: str) -> tuple[dict[str, Any], int]:
    capacity = request.get_json()["capacity"]
    database().executescript(
        "PRAGMA journal_mode=WAL;"
        "CREATE TABLE IF NOT EXISTS events (name TEXT PRIMARY KEY, capacity INTEGER, sold INTEGER);"
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, event TEXT, quantity INTEGER);"
    )
    database().execute("INSERT INTO events VALUES (?, ?, 0)", (event, capacity))
    return {"capacity": capacity, "sold": 0}, 201


@app.get("/events/<event>")
def look(event: str) -> dict[str, Any]:
    found = database().execute("SELECT capacity, sold FROM events WHERE name = ?", (event,)).fetchone()
    return dict(zip(("capacity", "sold"), found, strict=True))


@app.post("/events/<event>/orders")
def buy(event: str) -> tuple[dict[str, Any], int]:
    quantity = request.get_json()["quantity"]
    with database() as connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        left = "SELECT capacity - sold FROM events WHERE name = ?"
        remaining = connection.execute(left, (event,)).fetchone()[0] - quantity
        if remaining < 0:
            return {"error": "sold out"}, 409
        connection.execute("UPDATE events SET sold = sold + ? WHERE name = ?", (quantity, event))
        added = connection.execute("INSERT INTO orders (event, quantity) VALUES (?, ?)", (event, quantity))
    return {"order": added.lastrowid, "quantity": quantity, "remaining": remaining}, 201
