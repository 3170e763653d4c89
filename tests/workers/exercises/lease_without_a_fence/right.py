import threading
import time
from typing import Any


class Store:
    """Knows how many seats are free. Many offices ask it over the network; it does one thing at a time."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.newest = 0
        self.lock = threading.Lock()

    def count_free(self, number: int) -> int:
        with self.lock:
            self.newest = max(self.newest, number)
            return self.free

    def set_free(self, number: int, free: int) -> bool:
        with self.lock:
            if number < self.newest:
                return False
            self.newest = number
            self.free = free
            return True


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
        lease = self.leases.take()
        free = self.store.count_free(lease.number)
        self.take_payment(buyer)
        written = self.store.set_free(lease.number, free - 1)
        self.leases.give_back(lease)
        return written
