"""The whole benchmark: worker model by worker model, then growth, scaling, and what there is without HTTP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from loadtests.lab.bench import without_http
from loadtests.lab.bench.cells import BATCH, OFFICES, Cell, plan, stubbed
from loadtests.lab.bench.figures import Interval
from loadtests.lab.bench.growth import measure_growth
from loadtests.lab.bench.load_client import GeneratorFailed, LoadGenerator
from loadtests.lab.bench.paired import Measurer, NothingSold, Shape
from loadtests.lab.bench.results import GeneratorItself, Missing, Results
from loadtests.lab.bench.scaling import QUICK_WORKERS, WORKERS, measure_scaling
from loadtests.lab.bench.servers import NotAvailable, Subject, WrongAnswer, subject
from loadtests.lab.bench.targets import CLIENTS, marks
from loadtests.lab.bench.without_http import ChildFailed, Given
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import NotReady

PARTS = ("cells", "growth", "scaling", "in-process")
_FAILURES = (NotReady, GeneratorFailed, NothingSold, OfficeError, ChildFailed, WrongAnswer, OSError)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    workers: list[str]
    stores: list[str]
    clients: list[int]
    parts: list[str]
    shape: Shape
    growth: int
    quick: bool


class Reporter:
    """Who is told how far the benchmark is; this one says nothing."""

    def begin(self, steps: int) -> None:
        """So many steps there are."""

    def doing(self, what: str) -> None:
        """This is being measured now."""

    def done(self, steps: int = 1, said: str = "") -> None:
        """So many more steps are done; ``said``: what came out."""


class Bench:
    """One run. ``results`` holds what there is at any moment, also after an interruption."""

    def __init__(self, settings: Settings, folder: Path, reporter: Reporter) -> None:
        self._settings = settings
        self._servers = folder / "servers"
        self._folder = folder
        self._reporter = reporter
        self._refused: dict[tuple[str, str], str] = {}
        self.results = Results(machine=describe(folder), load_before=round(os.getloadavg()[0], 2))

    def run(self) -> Results:
        """Measure everything that was asked for."""
        parts: dict[str, Callable[[LoadGenerator], None]] = {
            "cells": self._cells,
            "growth": self._growth,
            "scaling": self._scaling,
            "in-process": self._in_process,
        }
        self._reporter.begin(self._steps())
        self._servers.mkdir(exist_ok=True)
        try:
            with LoadGenerator(self._folder) as generator:
                self._measure_the_generator(generator)
                for part in self._settings.parts:
                    parts[part](generator)
        finally:
            self.results.marks = marks(self.results.cells, self.results.growth, self._settings.shape.seed)
            self._tidy()
        return self.results

    def _steps(self) -> int:
        settings = self._settings
        steps = {
            "cells": settings.shape.pairs
            * len(settings.clients)
            * len(plan(settings.workers, settings.stores, quick=settings.quick)),
            "growth": len(self._growing()),
            "scaling": len(self._contending()),
            "in-process": len(without_http.cells(settings.stores)),
        }
        return sum(steps[part] for part in settings.parts)

    def _measure_the_generator(self, generator: LoadGenerator) -> None:
        self._reporter.doing("the load generator against a server that does nothing")
        window = generator.measure_itself(self._folder, min(1.0, self._settings.shape.seconds))
        rate = window.per_s(201)
        if rate:
            self.results.generator = GeneratorItself(rate, window.busy.computing / rate * 1e6)

    # -- cells ----------------------------------------------------------------------------------------------------

    def _cells(self, generator: LoadGenerator) -> None:
        settings = self._settings
        for worker in settings.workers:
            with subject(stubbed(worker), self._servers / f"{worker}-ceiling") as ceiling:
                measurer = Measurer(generator, ceiling, settings.shape)
                for cell in plan([worker], settings.stores, quick=settings.quick):
                    self._cell(measurer, cell, ceiling)

    def _cell(self, measurer: Measurer, cell: Cell, ceiling: Subject) -> None:
        def measure() -> None:
            if cell == ceiling.cell:
                self._at_each_count(measurer, ceiling)
                return
            with subject(cell, self._servers / cell.name) as tested:
                self._at_each_count(measurer, tested)

        steps = self._settings.shape.pairs * len(self._settings.clients)
        self._attempt("cells", cell, measure, steps)
        self._drop_data(cell.name)

    def _at_each_count(self, measurer: Measurer, tested: Subject) -> None:
        cell = tested.cell
        for clients in self._settings.clients:
            self._reporter.doing(f"{tested.service.spelled}  {cell.spelled}  {clients} clients")
            found = measurer.measure(tested, clients, self._reporter.done)
            (self.results.cells if cell.durable or cell.store == "plain" else self.results.ceilings).append(found)
            said = f"{tested.service.spelled}, {cell.spelled}, {clients} clients: {found.sold_per_s:,.0f} sold/s, "
            self._reporter.done(0, said + f"{_ratio(found.ratio)} of the ceiling")

    # -- the rest -------------------------------------------------------------------------------------------------

    def _growing(self) -> list[Cell]:
        worker = "gevent" if "gevent" in self._settings.workers else self._settings.workers[0]
        return [Cell(worker, store, "file", batch) for store, batch in (("journal", BATCH), ("json", 1))
                if store in self._settings.stores]  # fmt: skip

    def _growth(self, generator: LoadGenerator) -> None:
        for cell in self._growing():
            self._attempt("growth", cell, lambda cell=cell: self._grow(generator, cell), 1)  # type: ignore[misc]
            self._drop_data(f"growth-{cell.name}")

    def _grow(self, generator: LoadGenerator, cell: Cell) -> None:
        self.results.growth += measure_growth(
            generator,
            cell,
            self._servers / f"growth-{cell.name}",
            shape=self._settings.shape,
            most=self._settings.growth,
            step=self._reporter.doing,
        )
        last = self.results.growth[-1]
        self._reporter.done(1, f"{cell.spelled}, {last.orders:,} orders: {_ratio(last.ratio)} of a fresh event")

    def _contending(self) -> list[Cell]:
        """One cell for each store, under sync: each worker is one more who wants the lock."""
        best = {store: (guard, batch) for store, guard, batch in reversed(OFFICES) if store in self._settings.stores}
        chosen = [store for store in ("journal", "json") if store in best][:1]
        return [Cell("sync", store, "file", BATCH if store == "journal" else 1) for store in chosen]

    def _scaling(self, generator: LoadGenerator) -> None:
        for cell in self._contending():
            self._attempt("scaling", cell, lambda cell=cell: self._scale(generator, cell), 1)  # type: ignore[misc]

    def _scale(self, generator: LoadGenerator, cell: Cell) -> None:
        settings = self._settings
        shape = msgspec.structs.replace(settings.shape, pairs=1 if settings.quick else min(5, settings.shape.pairs))
        found = measure_scaling(
            generator,
            cell,
            self._servers / "scaling",
            shape=shape,
            clients=CLIENTS,
            workers=QUICK_WORKERS if settings.quick else WORKERS,
            step=self._reporter.doing,
        )
        self.results.scaling.append(found)
        best = max(found.rows, key=lambda row: row.sold_per_s)
        self._reporter.done(1, f"{cell.spelled}: most with {best.workers} workers, {best.sold_per_s:,.0f} sold/s")
        self._drop_data("scaling")

    def _in_process(self, _generator: LoadGenerator) -> None:
        for given in without_http.cells(self._settings.stores):
            name = f"{given.store} + {given.guard} without HTTP, {given.threads} thread{'s' * (given.threads > 1)}"
            folder = self._servers / f"in-process-{given.store}-{given.guard}-{given.threads}"

            def measure(given: Given = given, name: str = name, folder: Path = folder) -> None:
                self._reporter.doing(name)
                found = without_http.measure(given, folder, self._settings.shape.seconds)
                self.results.in_process.append(found)
                self._reporter.done(1, f"{name}: {found.sold_per_s:,.0f} sold/s")

            self._attempt("in-process", Cell("-", given.store, given.guard, given.batch), measure, 1)
            self._drop_data(folder.name)

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def _attempt(self, part: str, cell: Cell, measure: Callable[[], None], steps: int) -> None:
        """Measure, or note why not; one cell that cannot be measured does not end the others."""
        why = self._refused.get((cell.store, cell.guard))
        failed = False
        if why is None:
            try:
                measure()
                return
            except NotAvailable as refused:
                why = self._refused[cell.store, cell.guard] = str(refused)
            except _FAILURES as error:
                why, failed = str(error).partition("\n")[0], True
        missing = Missing(part, cell.worker, cell.store, cell.guard, cell.batch, why, failed)
        self.results.missing.append(missing)
        self._reporter.done(steps, f"{cell.worker}, {cell.spelled}: not {'measured' if failed else 'available'}: {why}")

    def _drop_data(self, name: str) -> None:
        """What was sold is of no use afterwards; the server's log stays."""
        for data in [self._servers / name / "data", *(self._servers / name).glob("*/data")]:
            shutil.rmtree(data, ignore_errors=True)

    def _tidy(self) -> None:
        for data in self._servers.rglob("data"):
            shutil.rmtree(data, ignore_errors=True)


def _ratio(ratio: Interval) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
