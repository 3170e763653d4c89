"""A box office that does not oversell (Bottle on waitress, SQLite): one statement checks and sells.

    python examples/ticket_office.py 8080 /tmp/tickets.db

``UPDATE … WHERE remaining >= ? RETURNING remaining`` is one step for everybody else: thirty-two threads come here
at the same time, and SQLite lets one after another write. There is no moment between looking and selling.
"""

import sqlite3
import sys
from contextlib import closing

import bottle

shop = bottle.Bottle()
DATABASE = sys.argv[2] if len(sys.argv) > 2 else "tickets.db"


def query(statement: str, *values: object) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(DATABASE, timeout=10, isolation_level=None)) as database:
        return database.execute(statement, values).fetchall()


@shop.put("/events/<event>")
def create(event: str) -> None:
    query("INSERT INTO events VALUES (?, ?)", event, bottle.request.json["seats"])
    bottle.response.status = 201


@shop.get("/events/<event>")
def look(event: str) -> dict[str, object]:
    [(remaining,)] = query("SELECT remaining FROM events WHERE event = ?", event)
    return {"data": {"remaining": remaining}}


@shop.post("/events/<event>/orders")
def buy(event: str) -> dict[str, object]:
    wanted = bottle.request.json["seats"]
    statement = "UPDATE events SET remaining = remaining - ?1 WHERE event = ?2 AND remaining >= ?1 RETURNING remaining"
    sold = query(statement, wanted, event)
    return {"sold": bool(sold), "data": {"remaining": sold[0][0]} if sold else {}}


if __name__ == "__main__":
    query("CREATE TABLE IF NOT EXISTS events (event TEXT PRIMARY KEY, remaining INTEGER)")
    shop.run(server="waitress", host="127.0.0.1", port=int(sys.argv[1]), threads=32, quiet=True)
