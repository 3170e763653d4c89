import threading


class CardRefused(Exception):
    """The bank has refused a card."""


class Desk:
    """A desk with two clerks: two buyers are served at once, and never three."""

    def __init__(self) -> None:
        self.clerks = threading.BoundedSemaphore(2)

    def charge(self, card: str) -> None:
        if card == "stolen":
            raise CardRefused

    def serve(self, buyer: str) -> str:
        # concurrent
        return f"a ticket for {buyer}"

    def buy(self, buyer: str, card: str) -> str | None:
        """The buyer's ticket; None if the card was refused."""
        self.clerks.acquire()
        try:
            self.charge(card)
            return self.serve(buyer)
        except CardRefused:
            self.clerks.release()
            return None
        finally:
            self.clerks.release()
