"""Guard ``optimistic``: nobody is kept out; who finds at writing that somebody else has written begins again.

Guarantees: what is written was decided on the version that it follows, whoever writes, on every host that reaches the
store (compare-and-set). Does not guarantee: progress of each one. Somebody always gets through, but the same one may
lose every time; so the attempts are bounded, and then it is told ``contention``, definitely: nothing was written.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import ClassVar, cast

from service.cart_transaction import CartTransaction
from service.errors import Problem
from service.guards import Guard, Transaction
from service.settings import Settings
from service.stores import ComparesAndSets, ComparesCarts, Conflict, Store

MOST_ATTEMPTS = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.05


class OptimisticGuard(Guard):
    """Read, think, decide; write if the version is still the one that was read; else pause and try again.

    The pause is random below a limit that doubles (exponential backoff with full jitter): without it those who
    collided once collide again.
    """

    name: ClassVar[str] = "optimistic"
    groups: ClassVar[bool] = True
    needs: ClassVar[type | None] = ComparesAndSets
    excludes: ClassVar[str] = "nobody: compare-and-set on the version, bounded retries"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(ComparesAndSets, store)

    def run(self, transaction: Transaction) -> None:
        began = time.perf_counter()
        transaction.commands = transaction.take()
        if transaction.commands:
            self._until_written(transaction)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def _until_written(self, transaction: Transaction) -> None:
        until_unchanged(lambda: transaction.read_decide_write(self._store.append_if_unchanged), transaction.deadline)

    def run_cart(self, cart: CartTransaction) -> None:
        run_cart_unless_changed(self._store, cart)


def until_unchanged(attempt: Callable[[], None], deadline: float) -> None:
    """Attempt it until nobody else has written meanwhile. Errors: ``contention`` (definite)."""
    limit_s = _FIRST_PAUSE_S
    for _ in range(MOST_ATTEMPTS):
        try:
            return attempt()
        except Conflict:
            if time.monotonic() >= deadline:
                break
        time.sleep(random.uniform(0, limit_s))
        limit_s = min(2 * limit_s, _LONGEST_PAUSE_S)
    raise Problem("contention", retry_after_s=1)


def run_cart_unless_changed(store: object, cart: CartTransaction) -> None:
    """Read and decide, and write if none of the events has changed: nothing is locked meanwhile, so nothing deadlocks.

    Errors, definite: ``contention``; ``not_supported`` where the store compares one event at a time.
    """
    if not isinstance(store, ComparesCarts) or not isinstance(store, ComparesAndSets):
        raise Problem("not_supported", "The store compares one event at a time. Nothing was written.")
    append_cart, append = store.append_cart_if_unchanged, store.append_if_unchanged
    until_unchanged(lambda: cart.read_decide_write(append_cart, append), cart.deadline)
