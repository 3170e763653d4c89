def one_more(number: int) -> int:
    return number + 1


class Counter:
    """Counts the tickets that are sold."""

    def __init__(self) -> None:
        self.sold = 0

    def greet(self, buyer: str) -> str:
        # concurrent
        return f"hello {buyer}"

    def sell(self, buyer: str) -> None:
        self.greet(buyer)
        self.sold = one_more(self.sold)
