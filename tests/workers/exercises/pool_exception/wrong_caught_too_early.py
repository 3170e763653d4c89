from concurrent.futures import ThreadPoolExecutor


class NoAddress(Exception):
    """A buyer has not said where they live."""


class Post:
    """Sends tickets."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, buyer: str, address: str) -> None:
        # concurrent
        if not address:
            raise NoAddress(buyer)
        self.sent.append(buyer)

    def send_all(self, addresses: dict[str, str]) -> list[str]:
        """Sends every buyer's ticket. Returns those buyers whose ticket could not be sent."""
        failed: list[str] = []
        with ThreadPoolExecutor(2) as pool:
            for buyer, address in addresses.items():
                try:
                    pool.submit(self.send, buyer, address)
                except NoAddress:
                    failed.append(buyer)
        return failed
