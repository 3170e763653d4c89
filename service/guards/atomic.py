"""Guard ``atomic``: each command is one conditional statement of the store's engine, which reads, decides and writes.

Guarantees: nothing of this program stands between reading and writing, so no buyer can be there together with another
one. Does not guarantee: any rule that was not translated; it fits a store only if that has a statement for every kind
of command. Nor can anything be put in between: the delay of an experiment (``LASTSEAT_THINK_MS``) passes before.
"""

from __future__ import annotations

import time
from typing import ClassVar, cast, get_args

from service.guards import Guard, Transaction
from service.guards.cart_transaction import CartTransaction
from service.guards.optimistic import run_cart_unless_changed
from service.guards.retrying import until_no_conflict
from service.rules.inventory import Command, Record, Replay
from service.settings import Settings
from service.stores import CommitsAtomically, Store


class AtomicGuard(Guard):
    """Takes those who wait, thinks, and lets the engine decide them in order and commit them together."""

    name: ClassVar[str] = "atomic"
    groups: ClassVar[bool] = True

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(CommitsAtomically, store)

    @classmethod
    def fits(cls, store: Store) -> bool:
        return super().fits(store) and cast(CommitsAtomically, store).translates >= set(get_args(Command))

    def run(self, transaction: Transaction) -> None:
        began = time.perf_counter()
        transaction.commands = transaction.take()
        if transaction.commands:
            transaction.think()
            # What the engine refused for the sake of another transaction (a deadlock) is not written.
            until_no_conflict(lambda: self._commit(transaction), transaction.deadline)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def run_cart(self, cart: CartTransaction) -> None:
        """There is no one statement for several events: it is decided here, and committed if none of them changed."""
        run_cart_unless_changed(self._store, cart)

    def _commit(self, transaction: Transaction) -> None:
        transaction.reach("append")
        began = time.perf_counter()
        transaction.outcomes, transaction.position = self._store.commit_atomically(
            transaction.event, transaction.commands, transaction.clock(), transaction.deadline, transaction.blocked
        )
        transaction.store_ms += (time.perf_counter() - began) * 1e3
        transaction.records = [each for each in transaction.outcomes if isinstance(each, Record)]
        last = transaction.outcomes[-1]
        version = last.record.version if isinstance(last, Replay) else last.version
        transaction.reach("release", version=version, refused=not isinstance(last, Record))
