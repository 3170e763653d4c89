"""What buyers of every kind have in common: they go on while there is something to buy, and know when to leave."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gevent
from locust import task

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream, found_nothing_left
from loadtests.lab.load.users import OfficeUser

GIVE_UP_AFTER = 20
"""So many errors in a row, in some ten seconds, and a buyer leaves: a service that is gone must not keep the run
alive, and one whose engine is started again comes back sooner."""


class Demand:
    """How much one buyer still wants of one event."""

    def __init__(self, largest: int) -> None:
        self._largest = self.most = largest
        """The most tickets that are still asked for at once."""
        self.disappointments = 0
        """How often in a row nothing at all remained."""

    def fed(self) -> None:
        """A wish was granted."""
        self.most, self.disappointments = self._largest, 0

    def refused(self, wish: Operation) -> None:
        """Want less the next time; when not even one ticket remains, lose patience."""
        left = (wish.quantity or 1) - 1 if wish.remaining is None else wish.remaining
        self.most = max(1, min(self._largest, left))
        if found_nothing_left(wish):
            self.disappointments += 1


class BuyerUser(OfficeUser):
    """A user who shops until nothing remains, in the closed loop or (``--rate``) as a stream of arrivals.

    A locust file says what one visit of a buyer is (``shop``), and what an arriving one does (``arrive``).
    Why the tickets end exactly at the last one: who gives something back goes on buying, and leaves only after finding
    nothing left. So after the last time that anything was given back somebody still looked, and found none.
    """

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self.largest = max(1, int(self.options.max_quantity))
        self.appetites = {event: Demand(self.largest) for event in self.events}
        self.failures = 0

    @property
    def events(self) -> Sequence[str]:
        """Those in which this kind of buyer buys."""
        return [self.customer.sale.event]

    @property
    def doors_are_open(self) -> bool:
        """Whether purchases are taken yet, by this machine's clock."""
        return (self.customer.sale.opens_at or 0.0) <= time.time()

    @property
    def most_wanted(self) -> int:
        """The most tickets to ask for at once, where there is one event."""
        return self.appetites[self.customer.sale.event].most

    @property
    def still_wanted(self) -> list[str]:
        """The events of which this buyer has not yet lost his patience."""
        return [event for event, appetite in self.appetites.items() if appetite.disappointments < self.options.patience]

    @task
    def visit(self) -> None:
        """One visit, or all arrivals of the open loop; whoever has had enough leaves."""
        sale = self.customer.sale
        if not self.doors_are_open:
            # One sleep each: who looked again and again would keep the others from their places on the starting line.
            sale.over.wait(max(0.0, (sale.opens_at or 0.0) - time.time()))
        if self.is_stream:
            self.stream_arrivals(self.arrive)
        elif not self.still_wanted or self.failures >= GIVE_UP_AFTER:
            self.leave()
        else:
            self.shop()

    def shop(self) -> None:
        """The closed loop: the next visit begins when this one has its answers."""
        raise NotImplementedError

    def arrive(self, customer: Client, crowd: ArrivalStream, intended_ns: int) -> None:
        """The open loop: each arrival is a new buyer with one wish."""
        raise NotImplementedError

    def saw(self, wish: Operation) -> bool:
        """Take in the answer to a wish for tickets; whether it was granted."""
        match wish.outcome:
            case "ok":
                self.failures = 0
                self.appetites[wish.event].fed()
                return True
            case "sold_out":
                self.failures = 0
                self.appetites[wish.event].refused(wish)
            case _:
                self.failures += 1
                gevent.sleep(min(0.05 * 2**self.failures, 0.5))
        return False
