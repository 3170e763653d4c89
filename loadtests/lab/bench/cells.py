"""What is measured: which stores under which guards, and what is beside them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.lab.servers.office import Service

BATCH = 256
"""Most purchases decided together where there is a batch: more than ever wait in one process at 64 clients."""
CAPACITY = 10_000_000
PLAIN = "plain"
PLAIN_ORDERS = 1_000

# (store, guard, batch): taken where the service knows the store and lets the guard act on it.
OFFICES = (
    ("json", "file", 1),
    ("journal", "file", 1),
    ("journal", "file", 8),
    ("journal", "file", BATCH),
    ("sqlite", "immediate", 1),
    ("sqlite", "immediate", BATCH),
    ("sqlite", "atomic", 1),
    ("sqlite", "atomic", BATCH),
    ("redis", "atomic", 1),
    ("redis", "atomic", BATCH),
    ("postgres", "row", 1),
    ("postgres", "row", BATCH),
    ("postgres", "atomic", BATCH),
)
NOT_IN_QUICK = {
    ("journal", "file", 8),
    ("sqlite", "immediate", 1),
    ("sqlite", "atomic", 1),
    ("postgres", "atomic", BATCH),
}
STORES = tuple(dict.fromkeys([*(store for store, _, _ in OFFICES), PLAIN]))


class Cell(msgspec.Struct, frozen=True):
    """One program under one worker model."""

    worker: str
    store: str
    """Of the service; or ``plain``; or the ceilings, ``stubbed`` and ``bare``."""
    guard: str
    batch: int = 1
    processes: int | None = None
    orders: int = 0
    """How many orders the plain program's file holds before a window; 0: it has a bare counter."""

    @property
    def service(self) -> Service:
        """How its server is run; what does not concern it is not looked at."""
        if self.store in {PLAIN, *CEILINGS}:
            return Service(worker=self.worker, processes=self.processes)
        return Service(
            worker=self.worker, processes=self.processes, store=self.store, guard=self.guard, batch=self.batch
        )

    @property
    def name(self) -> str:
        """For files and folders."""
        count = f"-{self.processes}" if self.processes else ""
        many = f"-{self.orders}" if self.orders else ""
        return f"{self.worker}{count}-{self.store}-{self.guard}-{self.batch}{many}"

    @property
    def spelled(self) -> str:
        """For people: ``journal + file, batch 256``."""
        if self.store == PLAIN:
            return f"plain, {self.orders:,} orders" if self.orders else "plain, a counter"
        if self.store in CEILINGS:
            return CEILINGS[self.store]
        return f"{self.store} + {self.guard}" + (f", batch {self.batch}" if self.batch > 1 else "")

    @property
    def durable(self) -> bool:
        """Whether an answer means that the sale survives a power cut."""
        return self.store not in {PLAIN, *CEILINGS}


CEILINGS = {"stubbed": "the decision stubbed", "bare": "a bare Flask endpoint"}


def stubbed(worker: str) -> Cell:
    """The ceiling that all others are measured against."""
    return Cell(worker, "stubbed", "-")


def plan(workers: Sequence[str], stores: Sequence[str], *, quick: bool) -> list[Cell]:
    """The cells to measure, worker model by worker model; each worker model begins with its two ceilings."""
    found = []
    for worker in workers:
        found += [stubbed(worker), Cell(worker, "bare", "-")]
        found += [
            Cell(worker, store, guard, batch)
            for store, guard, batch in OFFICES
            if store in stores and not (quick and (store, guard, batch) in NOT_IN_QUICK)
        ]
        if PLAIN in stores:
            found += [Cell(worker, PLAIN, "filelock", orders=orders) for orders in (0, PLAIN_ORDERS)]
    return found
