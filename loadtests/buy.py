"""Buyers who want the last seat: ``locust -f loadtests/buy.py`` beside a running office.

    gunicorn -k gevent service:app &
    locust -f loadtests/buy.py                          the web page, http://127.0.0.1:8089
    locust -f loadtests/buy.py --headless               32 buyers, until it is sold out
    locust -f loadtests/buy.py --headless --processes 2 -u 100 --capacity 500
    locust -f loadtests/buy.py --headless -u 1 --rate 200    arrivals at 200 a second, whatever the answers
    locust -f loadtests/buy.py --target shop.toml       another service: docs/judge-your-own.md
    locust -f loadtests/buy.py,loadtests/pay.py         with those who pay, in one sale; -f loadtests: with all
    locust -f loadtests/buy.py --help-sale              all options of the sale

Each test makes a fresh event, records every operation, and ends when it is sold out and every buyer has left. Then it
fetches the audit and prints the verdict; the exit status is 0 valid, 1 invalid, 2 undecided, 64 wrong usage, 70 the lab
itself failed.
"""

from __future__ import annotations

from locust import events

from loadtests.lab.load import hooks
from loadtests.lab.load.buyers import BuyerUser
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream


class Buyer(BuyerUser):
    """Looks, buys a few tickets, now and then gives them back, and leaves when nothing remains."""

    workload = "buy"

    def shop(self) -> None:
        rng = self.buyer.rng
        if rng.random() < self.options.read_share:
            self.buyer.read()
        purchase = self.buyer.buy(rng.randint(1, self.most_wanted))
        if self.saw(purchase) and purchase.order and rng.random() < self.options.cancel_share:
            self.buyer.cancel(purchase.order)

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """An arrival looks or buys; who has bought may give it back."""
        rng = client.rng
        if rng.random() < self.options.read_share:
            client.read(intended_ns=intended_ns)
            return
        purchase = client.buy(rng.randint(1, self.largest), intended_ns=intended_ns)
        stream.saw(purchase)
        if purchase.outcome == "ok" and purchase.order and rng.random() < self.options.cancel_share:
            client.cancel(purchase.order)


hooks.take_part(events, Buyer.workload)
