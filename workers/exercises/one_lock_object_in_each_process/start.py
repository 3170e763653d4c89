import threading
import time
from pathlib import Path

LOCK = threading.Lock()


class Shop:
    """Sells the seats of one show. Each process has a shop of its own; the number of free seats is in a file."""

    def __init__(self, folder: Path) -> None:
        self.free = folder / "free.txt"

    def print_ticket(self, buyer: str) -> None:
        # concurrent
        time.sleep(0.1)

    def buy(self, buyer: str) -> bool:
        """Whether the buyer has a seat now."""
        with LOCK:
            free = int(self.free.read_text())
            if free == 0:
                return False
            self.free.write_text(str(free - 1))
        self.print_ticket(buyer)
        return True
