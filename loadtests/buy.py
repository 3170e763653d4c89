"""Buyers who want the last seat: ``locust -f loadtests/buy.py`` beside a running office.

    gunicorn -k gevent service:app &
    locust -f loadtests/buy.py                          the web page, http://127.0.0.1:8089
    locust -f loadtests/buy.py --headless               32 buyers, until it is sold out
    locust -f loadtests/buy.py --headless --processes 2 -u 100 --capacity 500
    locust -f loadtests/buy.py --headless -u 1 --rate 200    arrivals at 200 a second, whatever the answers
    locust -f loadtests/buy.py --target shop.toml       another service: docs/judge-your-own.md
    locust -f loadtests/buy.py --help-sale              all options of the sale

Each test makes a fresh event, records every operation, and ends by itself when it is sold out and every buyer has
left. Then the audit is fetched and the verdict printed; the exit status is 0 valid, 1 invalid, 2 undecided.
"""

from __future__ import annotations

import gevent
from locust import events, task

from loadtests.lab import load
from loadtests.lab.arrivals import Crowd, found_nothing_left
from loadtests.lab.customer import Customer
from loadtests.lab.recorder import Operation
from loadtests.lab.users import OfficeUser

GIVE_UP_AFTER = 20
"""So many errors in a row, in some ten seconds, and a buyer leaves: a service that is gone must not keep the run
alive, and one whose engine is started again comes back sooner."""

load.take_part(events)


class Buyer(OfficeUser):
    """Looks, buys a few tickets, now and then gives them back, and leaves when nothing remains.

    Why the tickets end exactly at the last one: who cancels goes on buying, and leaves only after finding nothing left.
    So after the last cancellation of all somebody still looked, and found none.
    """

    def on_start(self) -> None:
        super().on_start()
        self.most_wanted = self.largest = max(1, int(self.options.max_quantity))
        self.disappointments = 0
        self.failures = 0

    @task
    def visit(self) -> None:
        if self.is_stream:
            self.stream_arrivals(self.arrive)
        elif self.disappointments >= self.options.patience or self.failures >= GIVE_UP_AFTER:
            self.leave()
        else:
            self.shop()

    def shop(self) -> None:
        """The closed loop: the next visit begins when this one has its answers."""
        dice = self.customer.dice
        if dice.random() < self.options.read_share:
            self.customer.read()
        purchase = self.customer.buy(dice.randint(1, self.most_wanted))
        match purchase.outcome:
            case "ok":
                self.most_wanted, self.disappointments, self.failures = self.largest, 0, 0
                if purchase.order and dice.random() < self.options.cancel_share:
                    self.customer.cancel(purchase.order)
            case "sold_out":
                self.failures = 0
                self.be_disappointed(purchase)
            case _:
                self.failures += 1
                gevent.sleep(min(0.05 * 2**self.failures, 0.5))

    def arrive(self, customer: Customer, crowd: Crowd, intended_ns: int) -> None:
        """The open loop (``--rate``): each arrival is a new buyer with one wish, to look or to buy."""
        dice = customer.dice
        if dice.random() < self.options.read_share:
            customer.read(intended_ns=intended_ns)
            return
        purchase = customer.buy(dice.randint(1, self.largest), intended_ns=intended_ns)
        crowd.saw(purchase)
        if purchase.outcome == "ok" and purchase.order and dice.random() < self.options.cancel_share:
            customer.cancel(purchase.order)

    def be_disappointed(self, refused: Operation) -> None:
        """Want less the next time; when not even one ticket remains, lose patience."""
        left = (refused.quantity or 1) - 1 if refused.remaining is None else refused.remaining
        self.most_wanted = max(1, min(self.largest, left))
        if found_nothing_left(refused):
            self.disappointments += 1
