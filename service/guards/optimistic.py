"""Guard ``optimistic``: nobody is kept out; who finds at writing that somebody else has written begins again.

Guarantees: what is written was decided on the version that it follows, whoever writes, on every host that reaches the
store (compare-and-set). Does not guarantee: progress of each one. Somebody always gets through, but the same one may
lose every time; so the attempts are bounded, and then it is told ``contention``, definitely: nothing was written.
"""

from __future__ import annotations

import time
from typing import ClassVar, cast

from service.errors import Problem
from service.guards import Guard, Transaction
from service.guards.cart_transaction import CartTransaction
from service.guards.retrying import until_no_conflict
from service.settings import Settings
from service.stores import ComparesAndSets, ComparesCarts, Store


class OptimisticGuard(Guard):
    """Read, think, decide; write if the version is still the one that was read; else pause and try again."""

    name: ClassVar[str] = "optimistic"
    groups: ClassVar[bool] = True

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(ComparesAndSets, store)

    def run(self, transaction: Transaction) -> None:
        began = time.perf_counter()
        transaction.commands = transaction.take()
        if transaction.commands:
            until_no_conflict(
                lambda: transaction.read_decide_write(self._store.append_if_unchanged), transaction.deadline
            )
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def run_cart(self, cart: CartTransaction) -> None:
        run_cart_unless_changed(self._store, cart)


def run_cart_unless_changed(store: object, cart: CartTransaction) -> None:
    """Read and decide, and write if none of the events has changed: nothing is locked meanwhile, so nothing deadlocks.

    Errors, definite: ``contention``; ``not_supported`` where the store compares one event at a time.
    """
    if not isinstance(store, ComparesCarts) or not isinstance(store, ComparesAndSets):
        raise Problem("not_supported", "The store compares one event at a time. Nothing was written.")
    append_cart, append = store.append_cart_if_unchanged, store.append_if_unchanged
    until_no_conflict(lambda: cart.read_decide_write(append_cart, append), cart.deadline)
