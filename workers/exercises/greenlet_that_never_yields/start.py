class Office:
    """Greenlets of gevent share it: one adds up the sales of a year, the others answer visitors."""

    def __init__(self, prices: list[int]) -> None:
        self.prices = prices
        self.visits = 0

    def add(self, total: int, price: int) -> int:
        """Stands for a longer computation. Leave this as it is."""
        return total + price

    def report(self) -> int:
        """The sum of all prices."""
        total = 0
        for price in self.prices:
            total = self.add(total, price)
        return total

    def answer(self) -> int:
        """What a visitor is told: how many there have been."""
        self.visits = self.visits + 1
        return self.visits
