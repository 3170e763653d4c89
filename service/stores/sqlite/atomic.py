"""The rules of ``inventory.decide`` in SQLite's language: each kind of command is one conditional statement.

The statement reads, decides and moves the counters in one step of the engine: no program stands between its reading
and its writing, so there is nothing to exclude anybody from, and no place to think. The record follows in the same
transaction. Where the statement changes no row nothing is sold; *why* is then told by ``decide`` itself, on what the
engine shows in the same transaction. That the engine and the rules agree is tested differentially.

Holds that are due are expired first, by one statement that writes their records with a version each; whether any is
due is asked once a transaction, since no hold that is made in it can have ended by its ``now``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

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
from service.stores.sqlite.schema import RECORD, insert, microseconds

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
        (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id)
    SELECT :row, events.version + row_number() OVER in_order, 'expired', '', '', due.quantity, due.first_ticket,
           :capacity - events.sold - events.held + sum(due.quantity) OVER in_order, '', due.buyer, due.hold_id
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
_CLOSE_EXPIRED = "DELETE FROM open_holds WHERE event = :row AND expires_at <= :now"

_HAS_PLACES = f"""
      AND sold + held + :quantity <= :capacity
      AND (:max_per_buyer IS NULL OR :buyer IS NULL OR {BOUGHT} + :quantity <= :max_per_buyer)
      AND {_KEY_IS_NEW}
"""
_IS_OPEN = """
    :quantity <= :max_per_order AND (:opens_at IS NULL OR :now >= :opens_at)
      AND (:max_per_buyer IS NULL OR :buyer IS NOT NULL)
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
    RETURNING version, :capacity - sold - held
"""
_CANCELLED_ORDER = f"SELECT quantity, first_ticket, buyer {_LAST_OF_ORDER}"

_CONFIRM = f"""
    UPDATE events
    SET version = version + 1, held = held - :quantity, sold = sold + :quantity
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_HOLD}) = 'held'
      AND {_KEY_IS_NEW}
    RETURNING version, :capacity - sold - held
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
    RETURNING version, :capacity - sold - held
"""
_HELD = "SELECT quantity, first_ticket, buyer FROM records WHERE event = :row AND hold_id = :hold AND kind = 'held'"

# RETURNING came with SQLite 3.35; without it there is no such statement for any command.
TRANSLATED: frozenset[type[Command]] = frozenset(
    {Sell, Cancel, Hold, Confirm, Release, Sweep} if sqlite3.sqlite_version_info >= (3, 35) else ()
)


class Atomically:
    """Decides commands by the engine, in one transaction that whoever made this commits."""

    def __init__(
        self, connection: sqlite3.Connection, row: int, about: Event, now: datetime, look: Callable[[Command], View]
    ) -> None:
        self._connection = connection
        self._about = about
        self._now = now
        self._look = look
        self._known: dict[str, Any] = {
            "row": row,
            "now": microseconds(now),
            "capacity": about.capacity,
            "max_per_order": about.max_per_order,
            "max_per_buyer": about.max_per_buyer,
            "max_held": about.max_held,
            "max_hold_s": about.max_hold_s,
            "opens_at": None if about.opens_at is None else microseconds(about.opens_at),
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
        insert(self._connection, self._known["row"], [record])
        return record

    def _expire(self, command: Command) -> None:
        """Expire the holds that are due, unless the key was answered before: a replay expires nothing."""
        asked = self._known | {"key": command.key}
        if self._connection.execute(_EXPIRE, asked).rowcount > 0:
            self._connection.execute(_COUNT_EXPIRED, asked)
            self._connection.execute(_CLOSE_EXPIRED, asked)
            self._due = False

    def _give(self, command: Sell | Hold) -> Record | None:
        """New tickets: sold, or set aside."""
        asked = self._known | {"key": command.key, "quantity": command.quantity, "buyer": command.buyer}
        statement = _SELL
        if isinstance(command, Hold):
            statement, asked["seconds"] = _HOLD, command.seconds
        for version, first, remaining in self._connection.execute(statement, asked).fetchall():
            tickets = tuple(range(first, first + command.quantity))
            if isinstance(command, Sell):
                return Record(
                    version, "sold", command.key, command.order, command.quantity, tickets, remaining, command.request,
                    command.buyer,
                )  # fmt: skip
            return Record(
                version, "held", command.key, "", command.quantity, tickets, remaining, command.request, command.buyer,
                command.hold, self._now + timedelta(seconds=command.seconds),
            )  # fmt: skip
        return None

    def _cancel(self, command: Cancel) -> Record | None:
        asked = self._known | {"key": command.key, "order": command.order}
        for version, remaining in self._connection.execute(_CANCEL, asked).fetchall():
            quantity, first, buyer = self._connection.execute(_CANCELLED_ORDER, asked).fetchone()
            tickets = tuple(range(first, first + quantity))
            return Record(
                version, "cancelled", command.key, command.order, quantity, tickets, remaining, command.request, buyer
            )
        return None

    def _confirm(self, command: Confirm) -> Record | None:
        held = self._held(command)
        if held is None:
            return None
        asked, tickets = held
        for version, remaining in self._connection.execute(_CONFIRM, asked).fetchall():
            return Record(
                version, "confirmed", command.key, command.order, asked["quantity"], tickets, remaining,
                command.request, asked["buyer"], command.hold,
            )  # fmt: skip
        for version, first, remaining in self._connection.execute(_SELL_LATE, asked).fetchall():
            tickets = tuple(range(first, first + asked["quantity"]))
            return Record(
                version, "sold", command.key, command.order, asked["quantity"], tickets, remaining,
                command.request, asked["buyer"], command.hold,
            )  # fmt: skip
        return None

    def _release(self, command: Release) -> Record | None:
        held = self._held(command)
        if held is None:
            return None
        asked, tickets = held
        for version, remaining in self._connection.execute(_RELEASE, asked).fetchall():
            return Record(
                version, "released", command.key, "", asked["quantity"], tickets, remaining, command.request,
                asked["buyer"], command.hold,
            )  # fmt: skip
        return None

    def _held(self, command: Confirm | Release) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """What never changes of a hold: how many, which tickets, whose. Whether it is open, the statement asks."""
        asked = self._known | {"key": command.key, "hold": command.hold}
        made = self._connection.execute(_HELD, asked).fetchone()
        if made is None:
            return None
        quantity, first, buyer = made
        return asked | {"quantity": quantity, "buyer": buyer}, tuple(range(first, first + quantity))

    def _why_not(self, command: Command) -> Outcome:
        outcome = decide(self._look(command), command, self._now)
        if isinstance(outcome, Record):
            raise RuntimeError("the engine refused what the rules grant")  # noqa: TRY004
        return outcome
