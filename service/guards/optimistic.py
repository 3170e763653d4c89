"""Guard ``optimistic``: no lock; a transaction whose write finds that another one has written begins again.

Guarantees: what is written was decided on the version that it follows, whoever writes, on every host that reaches the
store (compare-and-set). Does not guarantee: that each transaction gets through. One of them always does, but the same
one may lose every time. So the attempts are bounded, and then the answer is ``contention``: nothing was written.
"""

from __future__ import annotations

import time
from typing import Any, cast

from service.guards.base import Guard, until_no_conflict
from service.guards.transaction import Transaction
from service.settings import Settings
from service.stores.base import ComparesAndSets, Store


class OptimisticGuard(Guard):
    """Read, think, decide; write if the version is still the one that was read; else pause and try again.

    A cart is written if none of its events has changed: nothing is locked meanwhile, so nothing deadlocks.
    """

    name = "optimistic"
    groups = True

    def __init__(self, settings: Settings, store: Store) -> None:
        self._compared = cast(ComparesAndSets, store)

    def run(self, transaction: Transaction[Any]) -> None:
        began = time.perf_counter()
        append = self._compared.append_if_unchanged
        until_no_conflict(lambda: transaction.take_and_decide(append), transaction.deadline)
        transaction.held_ms = (time.perf_counter() - began) * 1e3
