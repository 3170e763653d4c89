"""Payments: how a buyer pays for tickets that are held, and a provider that takes its time, says no, or is silent.

The shop asks the provider, not the ticket office. So it belongs to the buyers' side of a load test, and what matters
about it is where a shop waits for it: while it holds a guard that everybody else wants, or while it merely holds some
tickets.
``Provider`` is the seam; ``Simulated`` is one that needs no network.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import gevent

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client

Payment = Literal["paid", "refused", "unanswered"]
LATE_S = 0.05
"""So long after the end of a hold somebody asks again what became of a payment that was not answered."""


class Provider(Protocol):
    """Whoever takes the money."""

    def pay(self, dice: random.Random, patience_s: float) -> Payment:
        """Ask for a payment, and wait for the answer at most ``patience_s``.

        ``unanswered`` is indefinite: the money may have been taken, and ``ask_later`` tells.
        """

    def ask_later(self, dice: random.Random) -> Payment:
        """What became of a payment that was not answered: it was made, or it was not."""


@dataclass(frozen=True)
class Simulated:
    """Payments that take from ``low_s`` to ``high_s``; some are refused, and of some no answer comes.

    Of those half have been made all the same: who asks later learns it, when the tickets are no longer held.
    """

    low_s: float
    high_s: float
    refused: float = 0.0
    lost: float = 0.0

    @classmethod
    def of(cls, options: Any) -> Simulated:
        """As the options of a locust file say."""
        low, dash, high = options.payment.partition("-")
        return cls(float(low) / 1e3, float(high if dash else low) / 1e3, options.payment_refused, options.payment_lost)

    def pay(self, dice: random.Random, patience_s: float) -> Payment:
        """See ``Provider``."""
        chance = dice.random()
        if chance < self.lost:
            gevent.sleep(patience_s)
            return "unanswered"
        gevent.sleep(dice.uniform(self.low_s, self.high_s))
        return "refused" if chance < self.lost + self.refused else "paid"

    def ask_later(self, dice: random.Random) -> Payment:
        """See ``Provider``."""
        return "paid" if dice.random() < 0.5 else "refused"


def pay_for(customer: Client, held: Operation, provider: Provider, hold_s: float) -> Operation | None:
    """Pay for a hold and confirm it; release it when the payment is refused.

    A payment that is not answered while the hold lasts is asked for again when it has ended. If it was made, the hold
    is confirmed late, and the office sells anew or says that the places are gone (then the shop pays back). If it was
    not, nothing is done: the places have come back by themselves. Returns the confirmation, if there was one.
    """
    if held.hold is None:
        return None
    payment = provider.pay(customer.dice, patience_s=hold_s)
    if payment == "unanswered":
        gevent.sleep(LATE_S)
        return customer.confirm(held.hold, event=held.event) if provider.ask_later(customer.dice) == "paid" else None
    if payment == "refused":
        customer.release(held.hold, event=held.event)
        return None
    return customer.confirm(held.hold, event=held.event)
