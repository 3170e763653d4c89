"""Everything that buyers do, at once: ``locust -f loadtests/mixed.py`` beside a running office.

    locust -f loadtests/mixed.py --headless             32 buyers, until it is sold out
    locust -f loadtests/mixed.py --headless --time-outs 0.05 --retries 4
    locust -f loadtests/mixed.py --help-sale            all options of the sale

Two events are on sale. Some buy. Others have tickets held, pay, and confirm; their payment may be refused (they release
the hold) or not be answered (the hold expires, and some confirm too late). Some put tickets of both events into one
cart, all or none. Orders are given back. Now and then somebody hangs up before the answer comes and asks again, under
the same key. Recorded and judged like ``loadtests/buy.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from locust import events

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load import hooks
from loadtests.lab.load.buyers import BuyerUser
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream
from loadtests.lab.load.payments import SimulatedProvider, pay_for
from loadtests.lab.protocol.carts import SELLS_NONE


class Visitor(BuyerUser):
    """Looks, buys, has tickets held and pays for them, fills carts; gives orders back; leaves when nothing remains."""

    workload = "mixed"

    @property
    def events(self) -> Sequence[str]:
        return self.buyer.context.events

    def shop(self) -> None:
        client, rng = self.buyer, self.buyer.rng
        event = rng.choice(self.still_wanted)
        if rng.random() < self.options.read_share:
            client.read(event=event)
        most = {each: self.demands[each].most for each in self.still_wanted}
        for wish in self.want(client, event, most):
            self.saw(wish)

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """An arrival looks, or wants tickets."""
        event = client.rng.choice(client.context.events)
        if client.rng.random() < self.options.read_share:
            client.read(event=event, intended_ns=intended_ns)
            return
        for wish in self.want(client, event, dict.fromkeys(client.context.events, self.largest), intended_ns):
            stream.saw(wish)

    def want(
        self, client: Client, event: str, most: Mapping[str, int], intended_ns: int | None = None
    ) -> list[Operation]:
        """One wish for tickets of an event, granted or not, and all that follows from it; perhaps of others too."""
        rng, options = client.rng, self.options
        wished: list[Operation] = []
        orders: list[Operation] = []
        if len(most) > 1 and rng.random() < options.cart_share and client.context.sells_carts:
            items = {each: rng.randint(1, most[each]) for each in rng.sample(sorted(most), len(most))}
            wished = self.put_together(client, items, intended_ns)
            orders = [line for line in wished if line.outcome == "ok"]
        elif rng.random() < options.hold_share:
            quantity = rng.randint(1, most[event])
            held = client.hold(quantity, event=event, seconds=options.hold, intended_ns=intended_ns)
            wished = [held]
            if held.outcome == "ok":
                confirmed = pay_for(client, held, SimulatedProvider.of(options), options.hold)
                orders = [confirmed] if confirmed is not None and confirmed.outcome == "ok" else []
        else:
            bought = client.buy(rng.randint(1, most[event]), event=event, intended_ns=intended_ns)
            wished, orders = [bought], [bought] if bought.outcome == "ok" else []
        for sold in orders:
            if sold.order is not None and rng.random() < options.cancel_share:
                client.cancel(sold.order, event=sold.event)
        return wished

    def put_together(self, client: Client, items: Mapping[str, int], intended_ns: int | None) -> list[Operation]:
        """Ask for a cart; what it says of each event. Where the office sells none, nobody asks for another."""
        lines = client.buy_together(items, intended_ns=intended_ns)
        if lines[0].status == SELLS_NONE:
            client.context.sells_carts = False
            return []
        # Where one event refused, nothing was found out about the others.
        refused = [line for line in lines if line.outcome == "sold_out"]
        return refused or (lines if lines[0].outcome == "ok" else lines[:1])


hooks.take_part(events, Visitor.workload)
