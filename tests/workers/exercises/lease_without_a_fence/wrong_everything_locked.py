import threading
import time
from typing import Any


class Store:
    """Knows how many seats are free. Many offices ask it over the network; it does one thing at a time."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.lock = threading.Lock()

    def count_free(self) -> int:
        with self.lock:
            return self.free

    def set_free(self, free: int) -> None:
        with self.lock:
            self.free = free


ALL = threading.Lock()


class Office:
    """Sells seats. There are several, on several hosts: only one at a time has the lease."""

    def __init__(self, store: Store, leases: Any) -> None:
        self.store = store
        self.leases = leases

    def take_payment(self, buyer: str) -> None:
        # concurrent
        time.sleep(1)

    def sell(self, buyer: str) -> bool:
        """Whether the buyer has a seat now. False: the lease was lost on the way, and nothing was sold."""
        with ALL:
            lease = self.leases.take()
            free = self.store.count_free()
            self.take_payment(buyer)
            self.store.set_free(free - 1)
            self.leases.give_back(lease)
            return True
