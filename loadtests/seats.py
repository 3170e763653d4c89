"""Buyers who choose their seats: ``locust -f loadtests/seats.py`` beside a running office.

    locust -f loadtests/seats.py --headless             everybody wants the best of 60 seats
    locust -f loadtests/seats.py --headless --taste spread --hall theatre
    locust -f loadtests/seats.py --headless --hall my-hall.json
    locust -f loadtests/seats.py --help-sale            all options of the sale

Each looks at the map, chooses by taste, and asks: for seats by name, or for some side by side that the office is to
choose. Who was too late is told which seats are taken, looks again, and chooses anew. Some have their seats held, pay,
and confirm; a few give them back. It ends when the last seat is sold. Recorded and judged like ``loadtests/buy.py``.
"""

from __future__ import annotations

from locust import events

from loadtests.lab.history.recorder import Operation
from loadtests.lab.load import hooks
from loadtests.lab.load.buyers import BuyerUser
from loadtests.lab.load.client import Client
from loadtests.lab.load.open_loop import ArrivalStream
from loadtests.lab.load.payments import SimulatedProvider, pay_for
from loadtests.lab.load.seat_choice import choose
from loadtests.lab.protocol.seat_map import SeatMap


class Spectator(BuyerUser):
    """Looks at the map, takes seats or has them held and pays, and leaves when no seat is left."""

    workload = "seats"

    def on_start(self) -> None:
        super().on_start()
        self.seat_map = self.empty_map()

    def shop(self) -> None:
        client = self.buyer
        if client.rng.random() < self.options.read_share:
            client.read()
        self.saw(self.take_seats(client, self.seat_map, self.most_wanted))

    def arrive(self, client: Client, stream: ArrivalStream, intended_ns: int) -> None:
        """An arrival looks at the map, and wants seats; how long that took counts from when they were to arrive."""
        stream.saw(self.take_seats(client, self.empty_map(), self.largest, intended_ns))

    def nothing_left(self, refused: Operation) -> bool:
        """Also where a single seat was wanted, whichever: an office without a lock may count seats that nobody gets."""
        any_seat = refused.outcome == "sold_out" and refused.quantity == 1 and refused.wanted is None
        return any_seat or super().nothing_left(refused)

    def empty_map(self) -> SeatMap:
        """The map of a buyer who has not looked yet."""
        hall = self.buyer.context.hall
        if hall is None:
            raise RuntimeError("the event has no hall")
        return SeatMap(hall)

    def take_seats(self, client: Client, seat_map: SeatMap, most: int, intended_ns: int | None = None) -> Operation:
        """One wish for seats, granted or not, and all that follows from it."""
        options, rng = self.options, client.rng
        client.look(seat_map)
        wish = choose(options.taste, seat_map, most, rng)
        sold: Operation | None
        if rng.random() < options.hold_share:
            answer = client.hold(wish.quantity, seconds=options.hold, intended_ns=intended_ns, **wish.which)
            paid = answer.outcome == "ok"
            sold = pay_for(client, answer, SimulatedProvider.of(options), options.hold) if paid else None
        else:
            answer = sold = client.buy(wish.quantity, intended_ns=intended_ns, **wish.which)
        if sold is not None and sold.outcome == "ok" and sold.order and rng.random() < options.cancel_share:
            client.cancel(sold.order)
        return answer


hooks.take_part(events, Spectator.workload)
