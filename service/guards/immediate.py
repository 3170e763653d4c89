"""Guard ``immediate``: SQLite's own lock among writers, ``BEGIN IMMEDIATE``. Excludes every process of one host.

Guarantees: of all threads, greenlets and processes that use the database, one is between reading and committing. A
killed holder's transaction is rolled back and its lock freed by the kernel. Does not guarantee: fairness (who happens
to ask when the lock is free gets it); that different events can be sold side by side (there is one lock for the
database); nor, other than a lock file, that the disk is waited for after the lock: the commit is what gives it back.
"""

from __future__ import annotations

from service.guards.base import EngineLock
from service.stores.base import LockStatement


class ImmediateGuard(EngineLock):
    """The transaction is begun as a writer's before anything is read, so that what was read is true until it commits.

    Begun as a reader's, two of them read the same version and the second could not write any more (SQLITE_BUSY).
    """

    name = "immediate"
    lock = LockStatement("IMMEDIATE", "")
