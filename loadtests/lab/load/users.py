"""Locust users who are customers: one buyer each (the closed loop), or a stream of arriving ones (the open loop)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from locust.contrib.fasthttp import FastHttpSession, FastHttpUser
from locust.env import Environment

from loadtests.lab.experiment.load_options import addresses
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream, OpenLoop
from loadtests.lab.load.roles import ROLES

_LINGER_S = 0.25


class OfficeUser(FastHttpUser):
    """A locust user who is a customer of the office: ``self.customer`` asks and records."""

    abstract = True
    workload: ClassVar[str]
    """The name of its locust file, by which its options and its results are known."""
    host = "http://127.0.0.1:8000"
    # Longer than the service's own limits (a lock wait of 5 s), so that a time-out here means something is wrong.
    network_timeout = 20.0
    connection_timeout = 5.0

    def __init__(self, environment: Environment) -> None:
        # Every arrival in flight has a connection of its own: waiting for one would be waiting unseen.
        options: Any = environment.parsed_options
        self.concurrency = max(self.concurrency, int(options.most_in_flight))
        super().__init__(environment)
        self.clients = [self.client, *(self._client_of(node) for node in addresses(options.nodes))]
        """A session with each node."""

    def on_start(self) -> None:
        self._role = ROLES[self.environment]
        self.customer = Client(self.clients, self._role.sale)
        self.has_left = False

    def _client_of(self, node: str) -> FastHttpSession:
        return FastHttpSession(
            base_url=node,
            request_event=self.environment.events.request,
            user=self,
            network_timeout=self.network_timeout,
            connection_timeout=self.connection_timeout,
            concurrency=self.concurrency,
            max_retries=self.max_retries,
            max_redirects=self.max_redirects,
        )

    @property
    def options(self) -> Any:
        """The options of the command line, or of the web page's form."""
        return self._role.options

    def on_stop(self) -> None:
        if self.has_left:
            self._role.sale.gone -= 1

    @property
    def is_stream(self) -> bool:
        """Whether this user is no buyer but a stream of them: the open loop."""
        return float(self.options.rate) > 0

    def stream_arrivals(self, arrive: Callable[[Client, ArrivalStream, int], object]) -> None:
        """Let buyers arrive at this user's share of the rate until it is sold out, then leave.

        ``arrive(customer, crowd, intended_ns)`` is one of them. Who is still in flight when it is sold out may give
        an order back; so it is looked at again when nobody is in flight.
        """
        sale, options = self._role.sale, self.options
        if self.has_left or sale.over.is_set():
            self.leave()
            return
        crowd = ArrivalStream(int(options.patience))
        share = float(options.rate) / int(options.last_seat_notice["users"])
        dice = sale.dice(sale.next_process())
        loop = OpenLoop(share, options.arrivals, int(options.most_in_flight), dice, sale.over)
        try:
            while not crowd.has_enough and not sale.over.is_set():
                loop.stream(lambda intended_ns: self._one(arrive, crowd, intended_ns), crowd)
                loop.drain(self.environment.stop_timeout / 2)
        finally:
            loop.drain(0)
            self._role.note_arrived(loop.arrived())
        self.leave()

    def _one(
        self, arrive: Callable[[Client, ArrivalStream, int], object], crowd: ArrivalStream, intended_ns: int
    ) -> None:
        customer = Client(self.clients, self._role.sale)
        self._role.unless_it_fails(lambda: arrive(customer, crowd, intended_ns))

    def leave(self) -> None:
        """Nothing is left to buy. The user stays, idle, until the run ends: locust would replace one that goes."""
        if not self.has_left:
            self.has_left = True
            self._role.sale.gone += 1
            self._role.look_who_left()
        self._role.sale.over.wait(_LINGER_S)
