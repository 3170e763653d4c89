"""The stampede at the door: ``locust -f loadtests/rush.py`` beside a running office.

    gunicorn -k gevent service:app &
    locust -f loadtests/rush.py                         the web page, http://127.0.0.1:8089
    locust -f loadtests/rush.py --headless -u 200       200 people before a closed door, 100 tickets
    locust -f loadtests/rush.py --headless --opens-in 5 --too-early 0.5
    locust -f loadtests/rush.py --help-sale             all options of the sale

Everybody stands before the door and watches the clock; when it opens, all of them buy in the same moment, and go on
until nothing remains. Some try the door before: they are told how long to wait, and nothing is sold to them. Recorded
and judged like ``loadtests/buy.py``.
"""

from __future__ import annotations

import time

from locust import events

from loadtests.lab import load
from loadtests.lab.shopper import Shopper

load.take_part(events, "rush")


class Rusher(Shopper):
    """Waits for the door to open, and buys."""

    def on_start(self) -> None:
        super().on_start()
        sale = self.customer.sale
        opens_at = sale.opens_at or 0.0
        if opens_at > time.time() and self.customer.dice.random() < self.options.too_early:
            self.customer.buy(self.wish())
        # One sleep each: who looked again and again would keep the others from their places on the starting line.
        sale.over.wait(max(0.0, opens_at - time.time()))

    def shop(self) -> None:
        purchase = self.customer.buy(self.wish())
        if self.saw(purchase) and purchase.order and self.customer.dice.random() < self.options.cancel_share:
            self.customer.cancel(purchase.order)

    def wish(self) -> int:
        """How many tickets."""
        return self.customer.dice.randint(1, self.most_wanted)
