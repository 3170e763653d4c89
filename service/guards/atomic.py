"""Guard ``atomic``: each command is one conditional statement of the store's engine, which reads, decides and writes.

Guarantees: no step of this program lies between reading and writing, so two transactions cannot be there at once. Does
not guarantee: any rule that was not translated; it fits a store only if that has a statement for every kind of command.
Nor can anything be put in between: the delay of an experiment (``LASTSEAT_THINK_MS``) passes before.
"""

from __future__ import annotations

import time
from typing import Any, cast, get_args

from service.guards.base import until_no_conflict
from service.guards.optimistic import OptimisticGuard
from service.guards.transaction import Transaction
from service.rules.inventory import Amend, Command, Record, Replay
from service.settings import Settings
from service.stores.base import CommitsAtomically, Store


class AtomicGuard(OptimisticGuard):
    """Takes those who wait, thinks, and lets the engine decide them in order and commit them together.

    There is no one statement for the several events of a cart, nor for a change of the event itself: these are decided
    here, and committed if none has changed.
    """

    name = "atomic"

    def __init__(self, settings: Settings, store: Store) -> None:
        super().__init__(settings, store)
        self._store = cast(CommitsAtomically, store)

    @classmethod
    def fits(cls, store: Store) -> bool:
        return super().fits(store) and cast(CommitsAtomically, store).translates >= set(get_args(Command)) - {Amend}

    def run(self, transaction: Transaction[Any]) -> None:
        if transaction.is_cart:
            super().run(transaction)
            return
        began = time.perf_counter()
        transaction.commands = transaction.take()
        if transaction.commands[0]:
            transaction.think()
            # What the engine refused for the sake of another transaction (a deadlock) is not written.
            until_no_conflict(lambda: self._commit(transaction), transaction.deadline)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def _commit(self, transaction: Transaction[Any]) -> None:
        transaction.reach("append")
        began = time.perf_counter()
        [event], [commands] = transaction.events, transaction.commands
        outcomes, position = self._store.commit_atomically(
            event, commands, transaction.clock(), transaction.deadline, transaction.blocked
        )
        transaction.store_ms += (time.perf_counter() - began) * 1e3
        transaction.outcomes, transaction.answered, transaction.positions = outcomes, (event,), (position,)
        transaction.records = [each for each in outcomes if isinstance(each, Record)]
        last = outcomes[-1]
        version = last.record.version if isinstance(last, Replay) else last.version
        transaction.reach("release", version=version, refused=not isinstance(last, Record))
