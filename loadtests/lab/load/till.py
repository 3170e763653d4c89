"""How a buyer of a load test pays while tickets are held: outside every guard."""

from __future__ import annotations

import gevent

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client
from loadtests.lab.load.payments import Provider

LATE_S = 0.05
"""So long after the end of a hold somebody asks again what became of a payment that was not answered."""


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
