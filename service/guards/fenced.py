"""Guard ``fenced``: a lease with a fencing token, a number that only grows; the store refuses all but the newest.

Guarantees, on every host that reaches the engine: what is written was decided while nobody else had been given the
lease. The script that writes compares the token with the newest that was *given out*, not with the newest that has
written: who reads under token 34 must not be overtaken by a late write under 33, and 34 has written nothing yet. So a
holder that was paused past its lease writes only if nobody came after it; else the write is refused, definitely, and
its commands are decided again under a new lease, or refused when their time is over. The counter is a field of the
event itself: it is lost only together with the event's sales. Losing the lease key costs a repetition and no sale.

Does not guarantee: fairness, or that a holder gets anything done in time (a lease shorter than the work is lost every
time). The idea: Martin Kleppmann, How to do distributed locking, 2016; there the store compares with what has written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from service.errors import Problem
from service.guards.lease import LeaseGuard, wait_for
from service.guards.transaction import Transaction
from service.rules.inventory import View
from service.runtime.notifications import Blocked
from service.stores.base import LateToken

log = logging.getLogger("lastseat")


class FencedGuard(LeaseGuard):
    """As ``lease``, and the token goes with every write."""

    name = "fenced"

    def run(self, transaction: Transaction[Any]) -> None:
        """Errors: ``lock_timeout``, ``lease_lost`` (definite)."""
        requests_own = self._held.get(transaction.events[0], (0,))[0] == threading.get_ident()
        while True:
            try:
                return super().run(transaction)
            except LateToken as late:
                log.warning("a late write to %r was refused: the newest token is %s", transaction.events[0], late)
            # A lease that is held around the whole request cannot be taken again within it.
            if requests_own or time.monotonic() >= transaction.deadline:
                raise Problem("lease_lost", retry_after_s=1)

    def decide(self, transaction: Transaction[Any]) -> None:
        transaction.take_and_decide(self._append)

    def _append(self, views: Sequence[View]) -> Sequence[object]:
        return self._store.append_fenced(views, [self._held[view.event.event][1] for view in views])

    def _take(self, event: str, deadline: float, blocked: Blocked) -> str:
        return wait_for(lambda: self._store.take_fenced_lease(event, self._lease_ms), deadline, blocked)
