"""The rules of ``inventory.decide`` in SQLite's language: each kind of command is one conditional statement.

The statement reads, decides and moves the counters in one step of the engine: no program stands between its reading
and its writing, so there is nothing to exclude anybody from, and no place to think. The record follows in the same
transaction. Where the statement changes no row nothing is sold; *why* is then told by ``decide`` itself, on what the
engine shows in the same transaction. That the engine and the rules agree is tested differentially.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from service.inventory import Cancel, Command, Event, Outcome, Record, Sell, View, decide
from service.stores.sqlite_schema import insert

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_IS_NEW = "NOT EXISTS (SELECT 1 FROM records WHERE event = :row AND key = :key)"
BOUGHT = """
    (SELECT coalesce(sum(CASE kind WHEN 'sold' THEN quantity ELSE -quantity END), 0)
     FROM records WHERE event = :row AND buyer = :buyer)
"""
_LAST_OF_ORDER = "FROM records WHERE event = :row AND order_id = :order ORDER BY id DESC LIMIT 1"

_SELL = f"""
    UPDATE events
    SET version = version + 1, sold = sold + :quantity, next_ticket = next_ticket + :quantity
    WHERE id = :row
      AND sold + :quantity <= :capacity
      AND :quantity <= :max_per_order
      AND (:opens_at IS NULL OR :now >= :opens_at)
      AND (:max_per_buyer IS NULL OR :buyer IS NULL OR {BOUGHT} + :quantity <= :max_per_buyer)
      AND {_KEY_IS_NEW}
    RETURNING version, next_ticket - :quantity, :capacity - sold
"""

_CANCEL = f"""
    UPDATE events
    SET version = version + 1, sold = sold - (SELECT quantity {_LAST_OF_ORDER})
    WHERE id = :row
      AND (SELECT kind {_LAST_OF_ORDER}) = 'sold'
      AND {_KEY_IS_NEW}
    RETURNING version, :capacity - sold
"""
_CANCELLED_ORDER = f"SELECT quantity, first_ticket, buyer {_LAST_OF_ORDER}"

# RETURNING came with SQLite 3.35; without it there is no such statement for any command.
TRANSLATED: frozenset[type[Command]] = frozenset({Sell, Cancel} if sqlite3.sqlite_version_info >= (3, 35) else ())


class Atomically:
    """Decides commands by the engine, in one transaction that whoever made this commits."""

    def __init__(
        self, connection: sqlite3.Connection, row: int, about: Event, now: datetime, look: Callable[[Command], View]
    ) -> None:
        self._connection = connection
        self._row = row
        self._about = about
        self._now = now
        self._look = look

    def decide(self, command: Command) -> Outcome:
        """What became of a command; a record is written."""
        record = self._sell(command) if isinstance(command, Sell) else self._cancel(command)
        if record is None:
            return self._why_not(command)
        insert(self._connection, self._row, [record])
        return record

    def _sell(self, command: Sell) -> Record | None:
        event = self._about
        asked = {
            "row": self._row,
            "key": command.key,
            "quantity": command.quantity,
            "buyer": command.buyer,
            "capacity": event.capacity,
            "max_per_order": event.max_per_order,
            "max_per_buyer": event.max_per_buyer,
            "opens_at": None if event.opens_at is None else _microseconds(event.opens_at),
            "now": _microseconds(self._now),
        }
        for version, first, remaining in self._connection.execute(_SELL, asked).fetchall():
            tickets = tuple(range(first, first + command.quantity))
            return Record(
                version, "sold", command.key, command.order, command.quantity, tickets, remaining, command.request,
                command.buyer,
            )  # fmt: skip
        return None

    def _cancel(self, command: Cancel) -> Record | None:
        asked = {"row": self._row, "key": command.key, "order": command.order, "capacity": self._about.capacity}
        for version, remaining in self._connection.execute(_CANCEL, asked).fetchall():
            quantity, first, buyer = self._connection.execute(_CANCELLED_ORDER, asked).fetchone()
            tickets = tuple(range(first, first + quantity))
            return Record(
                version, "cancelled", command.key, command.order, quantity, tickets, remaining, command.request, buyer
            )
        return None

    def _why_not(self, command: Command) -> Outcome:
        outcome = decide(self._look(command), command, self._now)
        if isinstance(outcome, Record):
            raise RuntimeError("the engine refused what the rules grant")  # noqa: TRY004
        return outcome


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
