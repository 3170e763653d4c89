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

from locust import events

from loadtests.lab.load import hooks
from loadtests.lab.load.buyers import BuyerUser
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream


class Rusher(BuyerUser):
    """Waits for the door to open, and buys."""

    workload = "rush"

    def on_start(self) -> None:
        super().on_start()
        if not self.doors_are_open and self.buyer.rng.random() < self.options.too_early:
            self.buyer.buy(self.wish())

    def shop(self) -> None:
        purchase = self.buyer.buy(self.wish())
        if self.saw(purchase) and purchase.order and self.buyer.rng.random() < self.options.cancel_share:
            self.buyer.cancel(purchase.order)

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """An arrival, after the door has opened, buys."""
        stream.saw(client.buy(client.rng.randint(1, self.largest), intended_ns=intended_ns))

    def wish(self) -> int:
        """How many tickets."""
        return self.buyer.rng.randint(1, self.most_wanted)


hooks.take_part(events, Rusher.workload)
