"""A shop in PostgreSQL that locks the event's row: SELECT … FOR UPDATE, UPDATE, INSERT, COMMIT."""

import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from flask import Flask, request

app = Flask(__name__)
pool: queue.LifoQueue[psycopg.Connection | None] = queue.LifoQueue()
for _ in range(4):
    pool.put(None)  # a connection that is not opened yet


@contextmanager
def transaction() -> Iterator[psycopg.Connection]:
    connection = pool.get()
    try:
        connection = connection or psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        with connection.transaction():
            yield connection
    finally:
        pool.put(connection if connection and not connection.closed else None)


@app.put("/events/<event>")
def create(event: str) -> tuple[dict[str, Any], int]:
    capacity = request.get_json()["capacity"]
    with transaction() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS events (name text PRIMARY KEY, capacity int, sold int)")
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, event text, quantity int)")
        connection.execute("INSERT INTO events VALUES (%s, %s, 0)", (event, capacity))
    return {"capacity": capacity, "sold": 0}, 201


@app.get("/events/<event>")
def look(event: str) -> dict[str, Any]:
    with transaction() as connection:
        found = connection.execute("SELECT capacity, sold FROM events WHERE name = %s", (event,)).fetchone()
    return dict(zip(("capacity", "sold"), found, strict=True))


@app.post("/events/<event>/orders")
def buy(event: str) -> tuple[dict[str, Any], int]:
    quantity = request.get_json()["quantity"]
    with transaction() as connection:
        left = "SELECT capacity - sold FROM events WHERE name = %s FOR UPDATE"
        remaining = connection.execute(left, (event,)).fetchone()[0] - quantity
        if remaining < 0:
            return {"error": "sold out"}, 409
        connection.execute("UPDATE events SET sold = sold + %s WHERE name = %s", (quantity, event))
        new = "INSERT INTO orders (event, quantity) VALUES (%s, %s) RETURNING id"
        order = connection.execute(new, (event, quantity)).fetchone()
    return {"order": order[0], "quantity": quantity, "remaining": remaining}, 201
