"""What the guards have in common that are a lock, or an isolation level, of the store's engine.

The transaction is the engine's own: it begins with the guard's lock, what is read and written inside belongs to it, and
its commit is what gives the lock back. So the disk is waited for under the lock, and a guard of this kind lives from
batching: those who wait in a process go as one transaction.

A cart is one transaction of the engine, which takes the locks of all events one after the other. Two that take them in
different orders deadlock; the engine notices, and refuses one of them.

An engine may refuse a transaction for the sake of another one (a deadlock, a serialization failure). It has then
written nothing and is run again, a bounded number of times, and then told ``contention``, definitely.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, cast

from service.guards import Mutex, Transaction
from service.guards.retrying import until_no_conflict
from service.settings import Settings
from service.stores import LockStatement, Store, Transacts


class EngineLock(Mutex):
    """A guard that is said in one statement of the engine: ``lock``."""

    lock: ClassVar[LockStatement]

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(Transacts, store)

    def exclusive(
        self, event: str, deadline: float, blocked: Callable[[], None] = lambda: None
    ) -> contextlib.AbstractContextManager[None]:
        return self._store.transacting(event, self.lock, deadline, blocked)

    def run(self, transaction: Transaction[Any]) -> None:
        if self._store.is_transacting:  # around the whole request: only that can be run again
            super().run(transaction)
        else:
            until_no_conflict(lambda: super(EngineLock, self).run(transaction), transaction.deadline)
