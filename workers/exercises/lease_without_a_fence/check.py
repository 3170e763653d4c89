"""Two offices, and a lease that ends while its holder is paused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.scheduler import explore_threads
from workers.exercises.common.turns import point

SEATS = 5


class Lease:
    """What the holder has: a number that is greater than that of each lease before."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False


class Leases:
    """One lease, for one holder after the other."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._newest = Lease(0)
        self._newest.is_over = True

    def take(self) -> Lease:
        """Waits until the lease is free."""
        self._free.acquire()
        self._newest = Lease(self._newest.number + 1)
        return self._newest

    def give_back(self, lease: Lease) -> None:
        """Nothing happens if the lease is over already."""
        if not lease.is_over:
            lease.is_over = True
            self._free.release()

    def let_time_pass(self) -> None:
        """The lease that somebody has is over. Its holder is not told."""
        self.give_back(self._newest)


class Evening:
    """Two offices with one store, and who was told that they have a seat."""

    def __init__(self, module: ModuleType) -> None:
        self.store = module.Store(SEATS)
        self.leases = Leases()
        self.offices = {buyer: module.Office(self.store, self.leases) for buyer in ("Ann", "Bob")}
        self.sold: list[str] = []


def sell(buyer: str) -> Callable[[Evening], None]:
    def act(evening: Evening) -> None:
        if evening.offices[buyer].sell(buyer):
            evening.sold.append(buyer)

    return act


def let_time_pass(evening: Evening) -> None:
    point("time_passes")
    evening.leases.let_time_pass()


def wrong(evening: Evening) -> Finding | None:
    sold, free = len(evening.sold), evening.store.free
    if free != SEATS - sold:
        return Finding("lost", {"seats": SEATS, "sold": sold, "free": free})
    return None if sold else Finding("unsold")


EXERCISE = Exercise(
    DrivingPlan(
        Evening, {"Ann": sell("Ann"), "Bob": sell("Bob"), "the clock": let_time_pass}, wrong, "Office.take_payment"
    ),
    explore_threads,
    needs=("Store", "Office", "Office.take_payment", "Office.sell"),
)
