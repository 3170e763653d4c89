import threading


class Doors:
    """Buyers wait at the doors until the clerk opens; then everybody is told the price."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.price: int | None = None
        self.lock = threading.Lock()

    def choose(self, buyer: str, price: int | None) -> str:
        # concurrent
        return f"{buyer} pays {price}"

    def open(self, price: int) -> None:
        """What the clerk does, once."""
        with self.lock:
            self.opened.set()
            self.price = price

    def enter(self, buyer: str) -> str:
        """What each buyer does."""
        self.opened.wait()
        with self.lock:
            return self.choose(buyer, self.price)
