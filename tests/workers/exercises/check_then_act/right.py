import threading


class Shop:
    """Sells the seats of one show."""

    def __init__(self, seats: int) -> None:
        self.free = seats
        self.lock = threading.Lock()

    def look_round(self, buyer: str) -> str:
        # concurrent
        return f"{buyer} likes it here"

    def buy(self, buyer: str) -> bool:
        """Whether the buyer has a seat now."""
        self.look_round(buyer)
        with self.lock:
            if self.free > 0:
                self.free = self.free - 1
                return True
        return False
