import threading
import time
import uuid
from typing import Any


class Shop:
    """Sells seats by number. Each question that arrives calls `sell`, in a thread of its own."""

    def __init__(self, seats: int) -> None:
        self.free = list(range(1, seats + 1))
        self.sold: dict[Any, int] = {}
        self.lock = threading.Lock()

    def print_ticket(self, buyer: str) -> None:
        # concurrent
        time.sleep(1)

    def sell(self, buyer: str, key: str) -> int:
        """Returns the number of the seat."""
        with self.lock:
            if key not in self.sold:
                self.sold[key] = self.free.pop()
            seat = self.sold[key]
        self.print_ticket(buyer)
        return seat


class Client:
    """Buys for one buyer over a network, which calls `sell` of the shop with what `network.ask` is given."""

    def __init__(self, network: Any, buyer: str) -> None:
        self.network = network
        self.buyer = buyer

    def buy(self) -> Any:
        """One purchase: asks until there is an answer. Returns the number of the seat."""
        key = str(uuid.uuid4())
        while True:
            try:
                return self.network.ask(self.buyer, key)
            except TimeoutError:
                pass
