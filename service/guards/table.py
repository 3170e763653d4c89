"""Guard ``table``: PostgreSQL's lock on the whole table, ``LOCK TABLE … IN EXCLUSIVE MODE``. READ COMMITTED.

Guarantees: of all processes on all hosts that use the database, one is between reading and committing any sale; readers
go on. Also against programs that write to the table and know nothing of the guard: their writes wait. A killed holder's
lock is freed by the engine. Does not guarantee: that two events can be sold side by side; that the lock is given back
before the disk is waited for; nor that somebody who keeps it does not stop every sale there is (and VACUUM).
"""

from __future__ import annotations

from service.guards.base import EngineLock
from service.stores.base import LockStatement


class TableGuard(EngineLock):
    """The coarsest lock: right, and what makes all events wait for one another."""

    name = "table"
    lock = LockStatement("READ COMMITTED", "LOCK TABLE lastseat.events IN EXCLUSIVE MODE")
