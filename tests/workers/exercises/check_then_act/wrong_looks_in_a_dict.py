class Shop:
    """Sells the seats of one show."""

    def __init__(self, seats: int) -> None:
        self.owner: dict[str, str] = {}

    def look_round(self, buyer: str) -> str:
        # concurrent
        return f"{buyer} likes it here"

    def buy(self, buyer: str) -> bool:
        """Whether the buyer has a seat now."""
        self.look_round(buyer)
        if "seat" not in self.owner:
            self.owner["seat"] = buyer
            return True
        return False
