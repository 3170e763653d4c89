"""The rules of ``inventory.decide`` in SQLite's language: each kind of command is one conditional statement.

The statement reads, decides and moves the counters in one step of the engine: no program stands between its reading
and its writing, so there is nothing to exclude anybody from, and no place to think. The record follows in the same
transaction. Where the statement changes no row nothing is sold; *why* is then told by ``decide`` itself, on what the
engine shows in the same transaction. That the engine and the rules agree is tested differentially.

Of an event with a hall a statement before it chooses the best seats, where these are wanted. What never changes of a
hall comes with the question: which seats there are, and in which rows.

Holds that are due are expired first, by one statement that writes their records with a version each; whether any is
due is asked once a transaction, since no hold that is made in it can have ended by its ``now``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from service.rules.halls import FREE, Hall
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    Sweep,
    View,
    decide,
)
from service.rules.records import ANY, Kind
from service.stores.columns import microseconds
from service.stores.seat_reading import indices
from service.stores.sqlite.schema import RECORD, insert, seats_in, write_seats

_KEY_IS_NEW = "NOT EXISTS (SELECT 1 FROM records WHERE event = :row AND key = :key AND :key <> '')"
BOUGHT = """
    (SELECT coalesce(sum(CASE WHEN kind IN ('sold', 'held') THEN quantity WHEN kind = 'confirmed' THEN 0
                              ELSE -quantity END), 0)
     FROM records WHERE event = :row AND buyer = :buyer)
"""
_LAST_OF_ORDER = "FROM records WHERE event = :row AND order_id = :order ORDER BY id DESC LIMIT 1"
_LAST_OF_HOLD = "FROM records WHERE event = :row AND hold_id = :hold ORDER BY id DESC LIMIT 1"

DUE = f"""
    SELECT {", ".join(f"made.{column}" for column in RECORD.split(", "))}
    FROM open_holds JOIN records AS made
      ON made.event = open_holds.event AND made.hold_id = open_holds.hold_id AND made.kind = 'held'
    WHERE open_holds.event = :row AND open_holds.expires_at <= :now
    ORDER BY open_holds.expires_at, open_holds.version
"""
"""The records that made the open holds which have ended, in the order in which they expire."""

_EXPIRE = f"""
    INSERT INTO records
        (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id, seats)
    SELECT :row, events.version + row_number() OVER in_order, 'expired', '', '', due.quantity, due.first_ticket,
           :capacity - events.sold - events.held + sum(due.quantity) OVER in_order, '', due.buyer, due.hold_id,
           due.seats
    FROM events, ({DUE}) AS due
    WHERE events.id = :row AND {_KEY_IS_NEW}
    WINDOW in_order AS (ORDER BY due.expires_at, due.version ROWS UNBOUNDED PRECEDING)
    ORDER BY due.expires_at, due.version
"""
_COUNT_EXPIRED = f"""
    UPDATE events
    SET version = version + (SELECT count(*) FROM ({DUE})), held = held - (SELECT sum(quantity) FROM ({DUE}))
    WHERE id = :row
"""
_SEATS_OF_EXPIRED = f"SELECT seats FROM ({DUE}) WHERE seats IS NOT NULL"
_CLOSE_EXPIRED = "DELETE FROM open_holds WHERE event = :row AND expires_at <= :now"

_HAS_PLACES = f"""
      AND sold + held + :quantity <= :capacity
      AND (:seats IS NULL OR NOT EXISTS (
          SELECT 1 FROM seats WHERE event = :row AND seat IN (SELECT value FROM json_each(:seats))
      ))
      AND (:max_per_buyer IS NULL OR :buyer IS NULL OR {BOUGHT} + :quantity <= :max_per_buyer)
      AND {_KEY_IS_NEW}
"""
_IS_OPEN = """
    :quantity <= :max_per_order AND (:opens_at IS NULL OR :now >= :opens_at)
      AND (:closes_at IS NULL OR :now < :closes_at)
      AND (:max_per_buyer IS NULL OR :buyer IS NOT NULL)
"""

# Row after row is looked at, until there are enough seats.
_ROWS = """
    lines AS MATERIALIZED (
        SELECT key AS line, json_extract(value, '$[0]') AS first, json_extract(value, '$[1]') AS size
        FROM json_each(:rows)
    )
"""
_NEAREST = f"""
    WITH RECURSIVE {_ROWS},
    walk(line, first, size, before, free) AS (
        SELECT -1, 0, 0, 0, 0
        UNION ALL
        SELECT lines.line, lines.first, lines.size, walk.before + walk.free, lines.size - (
            SELECT count(*) FROM seats
            WHERE event = :row AND seat >= lines.first AND seat < lines.first + lines.size
        )
        FROM walk JOIN lines ON lines.line = walk.line + 1 WHERE walk.before + walk.free < :quantity
    ),
    places(line, first, size, place) AS (
        SELECT line, first, size, 0 FROM walk WHERE free > 0
        UNION ALL
        SELECT line, first, size, place + 1 FROM places WHERE place + 1 < size
    )
    SELECT first + place FROM places
    WHERE NOT EXISTS (SELECT 1 FROM seats WHERE event = :row AND seat = first + place)
    ORDER BY line, abs(2 * place + 1 - size), place
    LIMIT :quantity
"""
# A gap is what is free in a row from a place ``low`` up to the next taken one, or its end: ``quantity`` seats in it may
# begin up to ``high``, and the best of these beginnings is the one that is nearest to the best one of an empty row.
_NEIGHBOURS = f"""
    WITH RECURSIVE {_ROWS},
    walk(line, begin) AS (
        SELECT -1, NULL
        UNION ALL
        SELECT lines.line, (
            SELECT lines.first + begin FROM (
                SELECT begin, abs(2 * begin + :quantity - lines.size) AS distance FROM (
                    SELECT max(low, min(high, (lines.size - :quantity) / 2)) AS begin FROM (
                        SELECT low, coalesce((
                            SELECT min(seat) FROM seats
                            WHERE event = :row AND seat >= lines.first + low AND seat < lines.first + lines.size
                        ) - lines.first, lines.size) - :quantity AS high
                        FROM (
                            SELECT 0 AS low
                            UNION ALL
                            SELECT seat - lines.first + 1 FROM seats
                            WHERE event = :row AND seat >= lines.first AND seat < lines.first + lines.size
                        )
                    )
                    WHERE low <= high
                )
            )
            ORDER BY distance, begin LIMIT 1
        )
        FROM walk JOIN lines ON lines.line = walk.line + 1 WHERE walk.begin IS NULL
    )
    SELECT begin FROM walk WHERE begin IS NOT NULL
"""

_SELL = f"""
    UPDATE events
    SET version = version + 1, sold = sold + :quantity, next_ticket = next_ticket + :quantity
    WHERE id = :row AND {_IS_OPEN} {_HAS_PLACES}
    RETURNING version, next_ticket - :quantity, :capacity - sold - held
"""

_HOLD = f"""
    UPDATE events
    SET version = version + 1, held = held + :quantity, next_ticket = next_ticket + :quantity
    WHERE id = :row AND {_IS_OPEN} {_HAS_PLACES}
      AND (:max_hold_s IS NULL OR :seconds <= :max_hold_s)
      AND (:max_held IS NULL OR held + :quantity <= :max_held)
    RETURNING version, next_ticket - :quantity, :capacity - sold - held
"""

_CANCEL = f"""
    UPDATE events
    SET version = version + 1, sold = sold - (SELECT quantity {_LAST_OF_ORDER})
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_ORDER}) IN ('sold', 'confirmed')
      AND {_KEY_IS_NEW}
    RETURNING version, :first, :capacity - sold - held
"""
_CANCELLED_ORDER = f"SELECT quantity, first_ticket, buyer, seats {_LAST_OF_ORDER}"

_CONFIRM = f"""
    UPDATE events
    SET version = version + 1, held = held - :quantity, sold = sold + :quantity
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_HOLD}) = 'held'
      AND {_KEY_IS_NEW}
    RETURNING version, :first, :capacity - sold - held
"""

_SELL_LATE = f"""
    UPDATE events
    SET version = version + 1, sold = sold + :quantity, next_ticket = next_ticket + :quantity
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_HOLD}) = 'expired'
      {_HAS_PLACES}
    RETURNING version, next_ticket - :quantity, :capacity - sold - held
"""

_RELEASE = f"""
    UPDATE events
    SET version = version + 1, held = held - :quantity
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_HOLD}) = 'held'
      AND {_KEY_IS_NEW}
    RETURNING version, :first, :capacity - sold - held
"""
_HELD = """
    SELECT quantity, first_ticket, buyer, seats FROM records WHERE event = :row AND hold_id = :hold AND kind = 'held'
"""

# RETURNING came with SQLite 3.35; without it there is no such statement for any command.
TRANSLATED: frozenset[type[Command]] = frozenset(
    {Sell, Cancel, Hold, Confirm, Release, Sweep} if sqlite3.sqlite_version_info >= (3, 35) else ()
)


class Atomically:
    """Decides commands by the engine, in one transaction, which the caller commits."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        row: int,
        about: Event,
        hall: Hall | None,
        *,
        now: datetime,
        look: Callable[[Command], View],
        path: Path,
    ) -> None:
        """``path``: of the database, for what is said of a damaged one."""
        self._connection = connection
        self._hall = hall
        self._now = now
        self._look = look
        self._path = path
        self._known: dict[str, Any] = {
            "row": row,
            "now": microseconds(now),
            "capacity": about.capacity,
            "max_per_order": about.max_per_order,
            "max_per_buyer": about.max_per_buyer,
            "max_held": about.max_held,
            "max_hold_s": about.max_hold_s,
            "opens_at": None if about.opens_at is None else microseconds(about.opens_at),
            "closes_at": None if about.closes_at is None else microseconds(about.closes_at),
        }
        asked = "SELECT EXISTS (SELECT 1 FROM open_holds WHERE event = :row AND expires_at <= :now)"
        self._due: bool = connection.execute(asked, self._known).fetchone()[0]

    def decide(self, command: Command) -> Outcome:
        """What became of a command; a record is written."""
        if self._due:
            self._expire(command)
        record: Record | None = None
        match command:
            case Sell() | Hold():
                record = self._give(command)
            case Cancel():
                record = self._cancel(command)
            case Confirm():
                record = self._confirm(command)
            case Release():
                record = self._release(command)
            case Sweep():
                pass
        if record is None:
            return self._why_not(command)
        insert(self._connection, self._known["row"], [record], self._hall)
        return record

    def _expire(self, command: Command) -> None:
        """Expire the holds that are due, unless the key was answered before: a replay expires nothing."""
        asked = self._known | {"key": command.key}
        if self._connection.execute(_EXPIRE, asked).rowcount > 0:
            if self._hall is not None:
                for (seats,) in self._connection.execute(_SEATS_OF_EXPIRED, asked).fetchall():
                    places = indices(self._hall, seats_in(seats, self._path))
                    write_seats(self._connection, self._known["row"], places, FREE)
            self._connection.execute(_COUNT_EXPIRED, asked)
            self._connection.execute(_CLOSE_EXPIRED, asked)
            self._due = False

    def _give(self, command: Sell | Hold) -> Record | None:
        """New tickets: sold, or set aside."""
        seats = self._seats_for(command)
        if seats is None:
            return None
        asked = self._known | {"key": command.key, "quantity": command.quantity, "buyer": command.buyer}
        asked["seats"] = self._places(seats)
        if isinstance(command, Sell):
            return self._written(_SELL, "sold", command, asked, seats)
        return self._written(_HOLD, "held", command, asked | {"seconds": command.seconds}, seats)

    def _seats_for(self, command: Sell | Hold) -> tuple[str, ...] | None:
        """The seats that are asked for, free or not, or the best that are free; None where there are none."""
        hall, wish = self._hall, command.wish
        if hall is None:
            return () if wish == ANY else None
        if wish.seats:
            return wish.seats if len(indices(hall, wish.seats)) == len(wish.seats) else None
        if not hall.has(wish.section):
            return None
        asked = self._known | {"rows": _rows(hall, wish.section), "quantity": command.quantity}
        found = self._connection.execute(_NEIGHBOURS if wish.together else _NEAREST, asked).fetchall()
        places = [place for (place,) in found]
        if wish.together:
            places = [first + each for first in places for each in range(command.quantity)]
        return tuple(map(hall.seat, sorted(places))) if len(places) == command.quantity else None

    def _places(self, seats: tuple[str, ...]) -> str | None:
        """The indices of seats as a statement takes them; NULL for none."""
        return None if self._hall is None or not seats else str(indices(self._hall, seats))

    def _cancel(self, command: Cancel) -> Record | None:
        order = self._before(_CANCELLED_ORDER, command)
        return None if order is None else self._written(_CANCEL, "cancelled", command, *order)

    def _confirm(self, command: Confirm) -> Record | None:
        held = self._before(_HELD, command)
        if held is None:
            return None
        return self._written(_CONFIRM, "confirmed", command, *held) or self._written(_SELL_LATE, "sold", command, *held)

    def _release(self, command: Release) -> Record | None:
        held = self._before(_HELD, command)
        return None if held is None else self._written(_RELEASE, "released", command, *held)

    def _before(
        self, statement: str, command: Cancel | Confirm | Release
    ) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        """What never changes of an order or a hold: how many, which tickets and seats, whose. Whether it is open, the
        next statement asks."""
        asked = self._known | {name: getattr(command, name, "") for name in ("key", "order", "hold")}
        made = self._connection.execute(statement, asked).fetchone()
        if made is None:
            return None
        quantity, first, buyer, kept = made
        seats = () if kept is None else seats_in(kept, self._path)
        asked |= {"quantity": quantity, "first": first, "buyer": buyer, "seats": self._places(seats)}
        return asked, seats

    def _written(
        self,
        statement: str,
        kind: Kind,
        command: Sell | Hold | Cancel | Confirm | Release,
        asked: dict[str, Any],
        seats: tuple[str, ...],
    ) -> Record | None:
        """The record of a command, where its statement changes the event."""
        for version, first, remaining in self._connection.execute(statement, asked).fetchall():
            quantity = asked["quantity"]
            return Record(
                version, kind, command.key, getattr(command, "order", ""), quantity,
                tuple(range(first, first + quantity)), remaining, command.request, asked["buyer"],
                getattr(command, "hold", ""),
                self._now + timedelta(seconds=command.seconds) if isinstance(command, Hold) else None,
                seats=seats, operation=getattr(command, "operation", ""),
            )  # fmt: skip
        return None

    def _why_not(self, command: Command) -> Outcome:
        outcome = decide(self._look(command), command, self._now)
        if isinstance(outcome, Record):
            raise RuntimeError("the engine refused what the rules grant")  # noqa: TRY004
        return outcome


@lru_cache(maxsize=64)
def _rows(hall: Hall, section: str) -> str:
    """The first seat and the number of seats of each row, as a statement takes them."""
    return str([list(row) for row in hall.rows(section)])
