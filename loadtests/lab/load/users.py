"""Locust users: each is one buyer (the closed loop) or a stream of arriving buyers (the open loop)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from locust.contrib.fasthttp import FastHttpSession, FastHttpUser
from locust.env import Environment

from loadtests.lab.experiment.load_options import addresses
from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream, OpenLoop, found_nothing_left
from loadtests.lab.load.roles import ROLES

_LINGER_S = 0.25


class OfficeUser(FastHttpUser):
    """A locust user who buys at the office: ``self.buyer`` asks and records."""

    abstract = True
    workload: ClassVar[str]
    """The name of its locust file, by which its options and its results are known."""
    host = "http://127.0.0.1:8000"
    # Longer than the service's own limits (a lock wait of 5 s), so that a time-out here means something is wrong.
    network_timeout = 20.0
    connection_timeout = 5.0

    def __init__(self, environment: Environment) -> None:
        # Every arrival in flight has a connection of its own: the wait for a shared one would not be measured.
        options: Any = environment.parsed_options
        self.concurrency = max(self.concurrency, int(options.most_in_flight))
        super().__init__(environment)
        self.clients = [self.client, *(self._client_of(node) for node in addresses(options.nodes))]
        """A session with each node."""

    def on_start(self) -> None:
        self._role = ROLES[self.environment]
        self.buyer = Client(self.clients, self._role.context)
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
            self._role.context.gone -= 1

    def nothing_left(self, refused: Operation) -> bool:
        """Whether a refusal says that not even one ticket remained."""
        return found_nothing_left(refused)

    @property
    def is_stream(self) -> bool:
        """Whether this user is a stream of buyers: the open loop."""
        return float(self.options.rate) > 0

    def stream_arrivals(self, arrive: Callable[[Client, ArrivalStream, int], object]) -> None:
        """Let buyers arrive at this user's share of the rate until the event is sold out, then leave.

        ``arrive(client, stream, intended_ns)`` is one buyer. A buyer who is still in flight when the event is sold out
        may give an order back; so more arrive when nobody is in flight any more, until they too find nothing.
        """
        context, options = self._role.context, self.options
        if self.has_left or context.over.is_set():
            self.leave()
            return
        stream = ArrivalStream(int(options.patience), self.nothing_left)
        share = float(options.rate) / int(options.last_seat_notice["users"])
        rng = context.rng_of(context.next_process())
        loop = OpenLoop(share, options.arrivals, int(options.most_in_flight), rng, context.over)
        try:
            while not stream.has_enough and not context.over.is_set():
                loop.run(lambda intended_ns: self._one(arrive, stream, intended_ns), stream)
                loop.drain(self.environment.stop_timeout / 2)
        finally:
            loop.drain(0)
            self._role.note_arrivals(loop.stats())
        self.leave()

    def _one(
        self, arrive: Callable[[Client, ArrivalStream, int], object], stream: ArrivalStream, intended_ns: int
    ) -> None:
        client = Client(self.clients, self._role.context)
        self._role.unless_it_fails(lambda: arrive(client, stream, intended_ns))
        self._role.context.adapter.dismiss(client.buyer)

    def leave(self) -> None:
        """Nothing is left to buy. The user stays idle until the run ends: locust would replace a user that ends."""
        if not self.has_left:
            self.has_left = True
            self._role.context.gone += 1
            self._role.look_who_left()
        self._role.context.over.wait(_LINGER_S)
