import threading


class Doors:
    """Buyers wait at the doors until the clerk opens; then everybody is told the price."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.price: int | None = None

    def choose(self, buyer: str, price: int | None) -> str:
        # concurrent
        return f"{buyer} pays {price}"

    def open(self, price: int) -> None:
        """What the clerk does, once."""
        self.opened.set()
        self.opened.clear()
        self.price = price
        self.opened.set()

    def enter(self, buyer: str) -> str:
        """What each buyer does."""
        self.opened.wait()
        return self.choose(buyer, self.price)
