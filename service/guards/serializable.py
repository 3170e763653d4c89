"""Guard ``serializable``: PostgreSQL's isolation level SERIALIZABLE. No lock; one that does not fit is refused.

Guarantees: the outcome is that of some order in which the transactions ran one after another (serializable snapshot
isolation), whoever writes, on every host, if all run at this level. One that does not fit into any order is rolled back
(SQLSTATE 40001) and run again. Does not guarantee: progress of each one; somebody always gets through, but the same one
may lose every time, so the attempts are bounded and then it is told ``contention``, definitely. Nor does it guarantee
anything together with transactions at a lower level: the guard's switch sees to it that there are none.

Source: D. Ports and K. Grittner, "Serializable Snapshot Isolation in PostgreSQL", VLDB 2012.
"""

from __future__ import annotations

from service.guards.base import EngineLock
from service.stores.base import LockStatement


class SerializableGuard(EngineLock):
    """Reads and writes as without a guard, at the level at which the engine notices what that would do."""

    name = "serializable"
    lock = LockStatement("SERIALIZABLE", "")
