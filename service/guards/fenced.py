"""Guard ``fenced``: a lease whose holder gets a number that only grows, and a store that refuses all but the newest.

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
from collections.abc import Callable, Sequence
from typing import ClassVar

from service.errors import Problem
from service.guards import Transaction
from service.guards.cart_transaction import CartTransaction
from service.guards.lease import LeaseGuard, wait_for
from service.rules.inventory import Record, View
from service.stores import FencesCarts, LateToken

log = logging.getLogger("lastseat")


class FencedGuard(LeaseGuard):
    """As ``lease``, and the token goes with every write."""

    name: ClassVar[str] = "fenced"

    def run(self, transaction: Transaction) -> None:
        """Errors: ``lock_timeout``, ``lease_lost`` (definite)."""
        event = transaction.event
        requests_own = self._held.get(event, (0,))[0] == threading.get_ident()

        def append(view: View, records: Sequence[Record]) -> object:
            return self._store.append_fenced(view, records, self._held[event][1])

        while True:
            try:
                with self.exclusive(event, transaction.deadline, transaction.blocked):
                    began = time.perf_counter()
                    transaction.commands = transaction.take()
                    if transaction.commands:
                        transaction.read_decide_write(append)
                break
            except LateToken as late:
                log.warning("a late write to %r was refused: the newest token is %s", event, late)
            # A lease that is held around the whole request cannot be taken again within it.
            if requests_own or time.monotonic() >= transaction.deadline:
                raise Problem("lease_lost", retry_after_s=1)
        transaction.held_ms = (time.perf_counter() - began) * 1e3

    def run_cart(self, cart: CartTransaction) -> None:
        """With the token of each event. Errors, definite: ``lock_timeout``, ``lease_lost``; ``not_supported`` where the
        store knows the token of one event at a time."""
        store = self._store
        if not isinstance(store, FencesCarts):
            raise Problem("not_supported", "The store fences one event at a time. Nothing was written.")

        def append_cart(name: str, views: Sequence[View]) -> Sequence[object]:
            return store.append_cart_fenced(name, views, [self._held[view.event.event][1] for view in views])

        def append(view: View, records: Sequence[Record]) -> object:
            return store.append_fenced(view, records, self._held[view.event.event][1])

        while True:
            try:
                with cart.locked(self.exclusive):
                    return cart.read_decide_write(append_cart, append)
            except LateToken as late:
                log.warning("a late cart was refused: the newest token is %s", late)
            if time.monotonic() >= cart.deadline:
                raise Problem("lease_lost", retry_after_s=1)

    def _take(self, event: str, deadline: float, blocked: Callable[[], None]) -> str:
        return wait_for(lambda: self._store.take_fenced_lease(event, self._lease_ms), deadline, blocked)
