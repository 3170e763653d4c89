import threading
import time
from typing import Any


class Shop:
    """Sells seats by number. Each question that arrives calls `sell`, in a thread of its own."""

    def __init__(self, seats: int) -> None:
        self.free = list(range(1, seats + 1))
        self.lock = threading.Lock()

    def print_ticket(self, buyer: str) -> None:
        # concurrent
        time.sleep(1)

    def sell(self, buyer: str) -> int:
        """Returns the number of the seat."""
        with self.lock:
            seat = self.free.pop()
        self.print_ticket(buyer)
        return seat


class Client:
    """Buys for one buyer over a network, which calls `sell` of the shop with what `network.ask` is given."""

    def __init__(self, network: Any, buyer: str) -> None:
        self.network = network
        self.buyer = buyer

    def buy(self) -> Any:
        """One purchase: asks until there is an answer. Returns the number of the seat."""
        while True:
            try:
                return self.network.ask(self.buyer)
            except TimeoutError:
                time.sleep(5)
