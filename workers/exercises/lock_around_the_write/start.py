import threading


class Shop:
    """Gives out the seats of one show, one after the other."""

    def __init__(self) -> None:
        self.next_seat = 1
        self.lock = threading.Lock()

    def pay(self, buyer: str) -> str:
        # concurrent
        return f"{buyer} has paid"

    def buy(self, buyer: str) -> int:
        """The number of the buyer's seat."""
        self.pay(buyer)
        seat = self.next_seat
        with self.lock:
            self.next_seat = seat + 1
        return seat
