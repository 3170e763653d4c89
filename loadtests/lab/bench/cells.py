"""The cells of a benchmark: stores under guards, by the catalogue; plain programs; the ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from loadtests.lab.servers.office import Service
from service import catalogue

BATCH = catalogue.BENCHMARK_BATCH
CAPACITY = 10_000_000
PLAIN = "plain"
CEILINGS = {"stubbed": "the decision stubbed", "bare": "a bare Flask endpoint"}
MEASURED = {name: store.benchmark for name, store in catalogue.STORES.items() if store.benchmark}


class BenchCell(msgspec.Struct, frozen=True):
    """One program under one worker model."""

    worker: str
    store: str
    """A store of the service; or ``plain``; or a ceiling, ``stubbed`` or ``bare``."""
    guard: str
    """A guard of the service; or a plain program, a module in ``examples/plain``."""
    batch: int = 1
    processes: int | None = None

    @property
    def service(self) -> Service:
        """The settings of its server; those that do not concern it have their defaults."""
        if not self.is_office:
            return Service(worker=self.worker, processes=self.processes)
        return Service(
            worker=self.worker, processes=self.processes, store=self.store, guard=self.guard, batch=self.batch
        )

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that name the cell in a record of a measurement."""
        return {"worker": self.worker, "store": self.store, "guard": self.guard, "batch": self.batch}

    @property
    def name(self) -> str:
        count = f"-{self.processes}" if self.processes else ""
        return f"{self.worker}{count}-{self.store}-{self.guard}-{self.batch}"

    @property
    def spelled(self) -> str:
        """The name in reports: ``journal + file, batch 256``."""
        if self.store == PLAIN:
            return f"{PLAIN} {self.guard}"
        if self.is_ceiling:
            return CEILINGS[self.store]
        return f"{self.store} + {self.guard}" + (f", batch {self.batch}" if self.batch > 1 else "")

    @property
    def is_ceiling(self) -> bool:
        return self.store in CEILINGS

    @property
    def is_office(self) -> bool:
        """Whether it is the service as it is: an answer means that the sale survives a power cut."""
        return self.store != PLAIN and not self.is_ceiling


def stubbed(worker: str) -> BenchCell:
    """The ceiling that all others are measured against."""
    return BenchCell(worker, "stubbed", "-")


def of_store(worker: str, store: str, *, quick: bool = False) -> list[BenchCell]:
    """The cells of a store of the service, guard by guard, each guard's largest batch last."""
    return [
        BenchCell(worker, store, measured.guard, batch)
        for measured in MEASURED[store]
        for batch in measured.batches
        if not (quick and batch in measured.not_in_quick)
    ]


def largest_batches(worker: str, stores: Sequence[str]) -> list[BenchCell]:
    """Each pair of store and guard once, with its largest batch."""
    cells = [cell for store in MEASURED if store in stores for cell in of_store(worker, store)]
    return list({(cell.store, cell.guard): cell for cell in cells}.values())


def plan(workers: Sequence[str], stores: Sequence[str], *, quick: bool) -> list[BenchCell]:
    """The cells to measure, worker model by worker model; each worker model begins with its two ceilings."""
    found = []
    for worker in workers:
        found += [stubbed(worker), BenchCell(worker, "bare", "-")]
        for store in MEASURED:
            if store in stores:
                found += of_store(worker, store, quick=quick)
    return found
