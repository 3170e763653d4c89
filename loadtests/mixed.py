"""Everything that buyers do, at once: ``locust -f loadtests/mixed.py`` beside a running office.

    locust -f loadtests/mixed.py --headless             32 buyers, until it is sold out
    locust -f loadtests/mixed.py --headless --time-outs 0.05 --retries 4
    locust -f loadtests/mixed.py --help-sale            all options of the sale

Some buy. Others have tickets held, pay, and confirm; their payment may be refused (they release the hold) or not be
answered (the hold expires, and some confirm too late). Orders are given back. Now and then somebody hangs up before the
answer comes and asks again, under the same key. Recorded and judged like ``loadtests/buy.py``.
"""

from __future__ import annotations

from locust import events

from loadtests.lab import load
from loadtests.lab.arrivals import Crowd
from loadtests.lab.customer import Customer
from loadtests.lab.payments import Simulated
from loadtests.lab.recorder import Operation
from loadtests.lab.shopper import Shopper
from loadtests.lab.till import pay_for

load.take_part(events, "mixed")


class Visitor(Shopper):
    """Looks, buys, or has tickets held and pays for them; gives orders back; leaves when nothing remains."""

    def shop(self) -> None:
        if self.customer.dice.random() < self.options.read_share:
            self.customer.read()
        self.saw(self.want(self.customer, self.most_wanted))

    def arrive(self, customer: Customer, crowd: Crowd, intended_ns: int) -> None:
        """An arrival looks, or wants tickets."""
        if customer.dice.random() < self.options.read_share:
            customer.read(intended_ns=intended_ns)
            return
        crowd.saw(self.want(customer, self.largest, intended_ns))

    def want(self, customer: Customer, most: int, intended_ns: int | None = None) -> Operation:
        """One wish for tickets, granted or not, and all that follows from it."""
        dice, options = customer.dice, self.options
        order = None
        if dice.random() < options.hold_share:
            wish = customer.hold(dice.randint(1, most), seconds=options.hold, intended_ns=intended_ns)
            if wish.outcome == "ok":
                provider = Simulated.of(options.payment, options.payment_refused, options.payment_lost)
                confirmed = pay_for(customer, wish, provider, options.hold)
                order = confirmed.order if confirmed is not None and confirmed.outcome == "ok" else None
        else:
            wish = customer.buy(dice.randint(1, most), intended_ns=intended_ns)
            order = wish.order if wish.outcome == "ok" else None
        if order is not None and dice.random() < options.cancel_share:
            customer.cancel(order)
        return wish
