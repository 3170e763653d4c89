"""Buyers who pay: ``locust -f loadtests/pay.py`` beside a running office.

    locust -f loadtests/pay.py --headless               tickets are held, paid for, confirmed
    locust -f loadtests/pay.py --headless --payment 200-400 -u 100
    locust -f loadtests/pay.py --help-sale              all options of the sale

No guard is held while a payment is waited for: the office sets the tickets aside, the buyer pays, the office confirms.
What it would be like otherwise is shown by ``lastseat run --workload pay-inside``: the office itself pays there, inside
its guard, and everybody else waits for it.
"""

from __future__ import annotations

from locust import events

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load import hooks
from loadtests.lab.load.buyers import BuyerUser
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream
from loadtests.lab.load.payments import SimulatedProvider, pay_for


class Payer(BuyerUser):
    """Has tickets held, pays, confirms; leaves when nothing remains."""

    workload = "pay"

    def shop(self) -> None:
        self.saw(self.hold_and_pay(self.buyer, self.most_wanted))

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """An arrival wants tickets."""
        stream.saw(self.hold_and_pay(client, self.largest, intended_ns))

    def hold_and_pay(self, client: Client, most: int, intended_ns: int | None = None) -> Operation:
        """One wish for tickets, granted or not, and the payment that follows."""
        options = self.options
        wish = client.hold(client.rng.randint(1, most), seconds=options.hold, intended_ns=intended_ns)
        if wish.outcome == "ok":
            pay_for(client, wish, SimulatedProvider.of(options), options.hold)
        return wish


hooks.take_part(events, Payer.workload)
