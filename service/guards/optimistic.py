"""Guard ``optimistic``: nobody is kept out; who finds at writing that somebody else has written begins again.

Guarantees: what is written was decided on the version that it follows, whoever writes, on every host that reaches the
store (compare-and-set). Does not guarantee: progress of each one. Somebody always gets through, but the same one may
lose every time; so the attempts are bounded, and then it is told ``contention``, definitely: nothing was written.
"""

from __future__ import annotations

import random
import time
from typing import ClassVar, cast

from service.errors import Problem
from service.guards import Guard, Transaction
from service.settings import Settings
from service.stores import ComparesAndSets, Conflict, Store

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
        limit_s = _FIRST_PAUSE_S
        for _ in range(MOST_ATTEMPTS):
            try:
                return transaction.read_decide_write(self._store.append_if_unchanged)
            except Conflict:
                if time.monotonic() >= transaction.deadline:
                    break
            time.sleep(random.uniform(0, limit_s))
            limit_s = min(2 * limit_s, _LONGEST_PAUSE_S)
        raise Problem("contention", retry_after_s=1)
