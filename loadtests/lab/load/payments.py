"""A payment provider: somebody else's service that takes its time, says no, or does not answer.

The shop asks it, not the ticket office. So it belongs to the buyers' side of a load test, and what matters about it is
where a shop waits for it: while it holds a guard that everybody else wants, or while it merely holds some tickets.
``Provider`` is the seam; ``Simulated`` is one that needs no network.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, Protocol

import gevent

Payment = Literal["paid", "refused", "unanswered"]


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
    def of(cls, milliseconds: str, refused: float, lost: float) -> Simulated:
        """From ``20`` or ``10-50`` milliseconds and two shares."""
        low, dash, high = milliseconds.partition("-")
        return cls(float(low) / 1e3, float(high if dash else low) / 1e3, refused, lost)

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
