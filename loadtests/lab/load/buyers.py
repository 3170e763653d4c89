"""What buyers of every workload have in common: how long they go on buying, and when they leave."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gevent
from locust import task

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream
from loadtests.lab.load.users import OfficeUser

GIVE_UP_AFTER = 20
"""A buyer leaves after this many errors in a row, which take some ten seconds. A service that is gone must not keep the
run alive; one whose engine is started again answers sooner."""


class Demand:
    """How many tickets of one event a buyer still asks for."""

    def __init__(self, largest: int) -> None:
        self._largest = self.most = largest
        """The most tickets to ask for at once."""
        self.disappointments = 0
        """How many refusals in a row found nothing left."""

    def fed(self) -> None:
        """A request was granted."""
        self.most, self.disappointments = self._largest, 0

    def refused(self, wish: Operation, *, nothing_left: bool) -> None:
        """Ask for fewer tickets the next time; count the refusal if not even one ticket remains."""
        left = (wish.quantity or 1) - 1 if wish.remaining is None else wish.remaining
        self.most = max(1, min(self._largest, left))
        if nothing_left:
            self.disappointments += 1


class BuyerUser(OfficeUser):
    """A user who buys until nothing remains, in the closed loop or (``--rate``) as a stream of arrivals.

    A locust file says what one visit of a buyer is (``shop``), and what an arriving buyer does (``arrive``).
    Why every ticket is sold at the end: a buyer who gives something back goes on buying, and leaves only after finding
    nothing left. So after the last ticket that was given back somebody still looked, and found none.
    """

    abstract = True

    def on_start(self) -> None:
        super().on_start()
        self.largest = max(1, int(self.options.max_quantity))
        self.demands = {event: Demand(self.largest) for event in self.events}
        self.failures = 0

    @property
    def events(self) -> Sequence[str]:
        """The events in which this kind of buyer buys."""
        return [self.buyer.context.event]

    @property
    def doors_are_open(self) -> bool:
        """Whether the event has opened, by this machine's clock."""
        return (self.buyer.context.opens_at or 0.0) <= time.time()

    @property
    def most_wanted(self) -> int:
        """The most tickets to ask for at once, where there is one event."""
        return self.demands[self.buyer.context.event].most

    @property
    def still_wanted(self) -> list[str]:
        """The events in which this buyer has not lost patience yet."""
        return [event for event, demand in self.demands.items() if demand.disappointments < self.options.patience]

    @task
    def visit(self) -> None:
        """One visit, or all arrivals of the open loop; a buyer who has lost patience leaves."""
        context = self.buyer.context
        if not self.doors_are_open:
            # One sleep each: buyers who looked again and again would delay the others before the start.
            context.over.wait(max(0.0, (context.opens_at or 0.0) - time.time()))
        if self.is_stream:
            self.stream_arrivals(self.arrive)
        elif not self.still_wanted or self.failures >= GIVE_UP_AFTER:
            self.leave()
        else:
            self.shop()

    def shop(self) -> None:
        """The closed loop: the next visit begins when this one has its answers."""
        raise NotImplementedError

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """The open loop: each arrival is a new buyer with one wish."""
        raise NotImplementedError

    def saw(self, wish: Operation) -> bool:
        """Take in the answer to a request for tickets; returns whether it was granted."""
        match wish.outcome:
            case "ok":
                self.failures = 0
                self.demands[wish.event].fed()
                return True
            case "sold_out" | "seat_taken" | "section_sold_out" | "not_together":
                self.failures = 0
                self.demands[wish.event].refused(wish, nothing_left=self.nothing_left(wish))
            case _:
                self.failures += 1
                gevent.sleep(min(0.05 * 2**self.failures, 0.5))
        return False
