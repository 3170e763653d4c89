"""Guard ``row``: PostgreSQL's lock on the event's row, ``SELECT … FOR UPDATE``. Isolation level: READ COMMITTED.

Guarantees: of all processes on all hosts that use the database, one is between reading and committing a sale of an
event; another event's sales go on beside it. A lock whose holder is killed, or loses its connection, is freed by the
engine, and its transaction rolled back. Does not guarantee: an exact order among those who wait; that the lock is given
back before the disk is waited for (the commit gives it back); anything against a program that writes to the tables
without taking the lock.
"""

from __future__ import annotations

from service.guards.base import EngineLock
from service.stores.base import LockStatement


class RowGuard(EngineLock):
    """A transaction that has waited reads what the one before it committed: at READ COMMITTED each statement does."""

    name = "row"
    lock = LockStatement("READ COMMITTED", "SELECT 1 FROM lastseat.events WHERE name = '{event}' FOR UPDATE")
