"""Payments: how a buyer pays for held tickets, and a simulated provider that is slow, refuses, or does not answer.

The shop asks the provider, not the ticket office; so the payment belongs to the buyers' side of a load test. What
matters is where the shop waits for it: while it holds a guard that all others need, or while it only holds tickets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

import gevent

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client

Payment = Literal["paid", "refused", "unanswered"]
LATE_S = 0.05
"""How long after the end of a hold the buyer asks what became of an unanswered payment."""


@dataclass(frozen=True)
class SimulatedProvider:
    """Payments without a network, that take from ``low_s`` to ``high_s``; some are refused, and some are not answered.

    Half of the unanswered ones were made all the same. The buyer learns it later, when the tickets are no longer held.
    """

    low_s: float
    high_s: float
    refused: float = 0.0
    lost: float = 0.0

    @classmethod
    def of(cls, options: Any) -> SimulatedProvider:
        """As the options of a locust file say."""
        low, dash, high = options.payment.partition("-")
        return cls(float(low) / 1e3, float(high if dash else low) / 1e3, options.payment_refused, options.payment_lost)

    def pay(self, rng: random.Random, patience_s: float) -> Payment:
        """Ask for a payment, and wait for the answer at most ``patience_s``.

        ``unanswered`` is indefinite: the money may have been taken, and ``ask_later`` tells.
        """
        chance = rng.random()
        if chance < self.lost:
            gevent.sleep(patience_s)
            return "unanswered"
        gevent.sleep(rng.uniform(self.low_s, self.high_s))
        return "refused" if chance < self.lost + self.refused else "paid"

    def ask_later(self, rng: random.Random) -> Payment:
        """Whether a payment that was not answered was made: ``paid`` or ``refused``."""
        return "paid" if rng.random() < 0.5 else "refused"


def pay_for(client: Client, held: Operation, provider: SimulatedProvider, hold_s: float) -> Operation | None:
    """Pay for a hold and confirm it; release it when the payment is refused.

    If no answer comes while the hold lasts, the provider is asked again when it has ended. If the payment was made, the
    hold is confirmed late, and the office sells anew or says that the places are gone (then the shop pays back). If it
    was not made, nothing is done: the expired hold has given the places back. Returns the confirmation, if any.
    """
    if held.hold is None:
        return None
    payment = provider.pay(client.rng, patience_s=hold_s)
    if payment == "unanswered":
        gevent.sleep(LATE_S)
        return client.confirm(held.hold, event=held.event) if provider.ask_later(client.rng) == "paid" else None
    if payment == "refused":
        client.release(held.hold, event=held.event)
        return None
    return client.confirm(held.hold, event=held.event)
