"""Guard ``advisory``: PostgreSQL's ``pg_advisory_xact_lock``, a lock on a number instead of a row. READ COMMITTED.

Guarantees: of all processes on all hosts that ask for the same number in this database, one is between reading and
committing. A killed holder's lock is freed by the engine. Does not guarantee: anything against who does not ask (the
engine knows nothing of what the number stands for); that two events whose names have one hash sell side by side; that
the number means nothing to another program in the same database; that the lock is given back before the disk is waited
for. Behind a pooler that shares connections between statements it holds, for it belongs to the transaction; a session's
advisory lock would not.
"""

from __future__ import annotations

from service.guards.base import EngineLock
from service.stores.base import LockStatement

NAMESPACE = 0x4C53  # so that other programs' numbers are other ones


class AdvisoryGuard(EngineLock):
    """A number an event, its hash; the lock is given back by the transaction's end."""

    name = "advisory"
    lock = LockStatement("READ COMMITTED", f"SELECT pg_advisory_xact_lock({NAMESPACE}, hashtext('{{event}}'))")
