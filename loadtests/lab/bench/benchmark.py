"""The whole benchmark: worker model by worker model, then growth, scaling, and what there is without HTTP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from loadtests.lab.bench import without_http
from loadtests.lab.bench.cells import BenchCell, largest_batches, plan, stubbed
from loadtests.lab.bench.growth import measure_growth, sizes
from loadtests.lab.bench.load_client import GeneratorFailed, LoadGenerator
from loadtests.lab.bench.paired import SOLD, Measurer, NothingSold, Sampling
from loadtests.lab.bench.plain import growing, marks, measure_beside, pairings
from loadtests.lab.bench.results import BenchResults, GeneratorItself, NotMeasured
from loadtests.lab.bench.scaling import QUICK_WORKERS, WORKERS, measure_scaling
from loadtests.lab.bench.servers import NotAvailable, Subject, WrongAnswer, plain_beside, subject
from loadtests.lab.bench.targets import CLIENTS, speed_targets
from loadtests.lab.bench.without_http import InProcess, MeasurementFailed
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import NotReady
from service.catalogue import GROWN, GROWN_MARKS

PARTS = ("cells", "growth", "scaling", "in-process")
BESIDE_PLAIN = "plain"
"""A part that is measured alone."""
_FAILURES = (NotReady, GeneratorFailed, NothingSold, OfficeError, MeasurementFailed, WrongAnswer, OSError)


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True):
    workers: list[str]
    stores: list[str]
    clients: list[int]
    parts: list[str]
    sampling: Sampling = msgspec.field(name="shape")
    growth: int
    quick: bool


class Bench:
    """One run. ``results`` holds what there is at any moment, also after an interruption."""

    def __init__(self, settings: BenchSettings, folder: Path, progress: ProgressBar) -> None:
        self._settings = settings
        self._servers = folder / "servers"
        self._folder = folder
        self._progress = progress
        self._refused: dict[tuple[str, str], str] = {}
        self.results = BenchResults(machine=describe(folder), load_before=round(os.getloadavg()[0], 2))

    def run(self) -> BenchResults:
        settings = self._settings
        parts: dict[str, Callable[[LoadGenerator], None]] = {
            "cells": self._cells,
            "growth": self._growth,
            "scaling": self._scaling,
            "in-process": self._in_process,
            BESIDE_PLAIN: self._beside_plain,
        }
        self._progress.begin(self._steps())
        self._servers.mkdir(exist_ok=True)
        try:
            with LoadGenerator(self._folder) as generator:
                self._measure_the_generator(generator)
                for part in settings.parts:
                    parts[part](generator)
        finally:
            self.results.targets = speed_targets(self.results.cells, self.results.growth, settings.sampling.seed)
            if BESIDE_PLAIN in settings.parts:
                found = marks(self.results.beside_plain, self.results.growth)
                self.results.targets = [mark.found for mark in found if mark.found is not None]
            self._drop_data(self._servers)
        return self.results

    def _steps(self) -> int:
        settings = self._settings
        cells = plan(settings.workers, settings.stores, quick=settings.quick)
        steps = {
            "cells": len(cells) * self._steps_of_a_cell,
            "growth": len(self._growing()),
            "scaling": len(self._growing()[:1]),
            "in-process": len(without_http.cells(settings.stores)),
            BESIDE_PLAIN: len(self._pairings()) * self._steps_of_a_cell + len(self._marked_growth()),
        }
        return sum(steps[part] for part in settings.parts)

    @property
    def _steps_of_a_cell(self) -> int:
        return self._settings.sampling.pairs * len(self._settings.clients)

    def _measure_the_generator(self, generator: LoadGenerator) -> None:
        self._progress.doing("the load generator against a server that does nothing")
        window = generator.measure_itself(self._folder, min(1.0, self._settings.sampling.seconds))
        rate = window.per_s(SOLD)
        if rate:
            self.results.generator = GeneratorItself(rate, window.busy.computing / rate * 1e6)

    # -- cells ----------------------------------------------------------------------------------------------------

    def _cells(self, generator: LoadGenerator) -> None:
        settings = self._settings
        for worker in settings.workers:
            with subject(stubbed(worker), self._servers / f"{worker}-ceiling") as ceiling:
                measurer = Measurer(generator, ceiling, settings.sampling)
                for cell in plan([worker], settings.stores, quick=settings.quick):
                    measure = partial(self._cell, measurer, cell, ceiling)
                    self._attempt("cells", cell, cell.name, measure, self._steps_of_a_cell)

    def _cell(self, measurer: Measurer, cell: BenchCell, ceiling: Subject, folder: Path) -> None:
        if cell == ceiling.cell:
            self._at_each_count(measurer, ceiling)
            return
        with subject(cell, folder) as tested:
            self._at_each_count(measurer, tested)

    def _at_each_count(self, measurer: Measurer, tested: Subject) -> None:
        cell = tested.cell
        for clients in self._settings.clients:
            self._progress.doing(f"{tested.service.spelled}  {cell.spelled}  {clients} clients")
            found = measurer.measure(tested, clients, self._progress.done)
            (self.results.ceilings if cell.is_ceiling else self.results.cells).append(found)
            said = f"{tested.service.spelled}, {cell.spelled}, {clients} clients: {found.sold_per_s:,.0f} sold/s, "
            self._progress.done(0, said + f"{found.ratio} of the ceiling")

    # -- beside plain programs ------------------------------------------------------------------------------------

    def _pairings(self) -> list[tuple[BenchCell, BenchCell]]:
        return pairings(self._settings.workers, self._settings.stores, quick=self._settings.quick)

    def _marked_growth(self) -> list[BenchCell]:
        return growing(self._settings.workers, self._settings.stores)

    def _beside_plain(self, generator: LoadGenerator) -> None:
        for ours, plain in self._pairings():
            measure = partial(self._pairing, generator, ours, plain)
            self._attempt(BESIDE_PLAIN, ours, f"beside-{plain.name}", measure, self._steps_of_a_cell)
        for cell in self._marked_growth():
            if orders := [each for each in GROWN_MARKS if each <= self._settings.growth]:
                self._attempt("growth", cell, f"growth-{cell.name}", partial(self._grow, generator, cell, orders))

    def _pairing(self, generator: LoadGenerator, ours: BenchCell, plain: BenchCell, folder: Path) -> None:
        with subject(ours, folder / "office") as office, plain_beside(office, plain, folder / "plain") as other:
            measurer = Measurer(generator, other, self._settings.sampling)
            for clients in self._settings.clients:
                what = f"{office.service.spelled}  {ours.spelled} beside {plain.spelled}  {clients} clients"
                self._progress.doing(what)
                found = measure_beside(measurer, office, clients, self._progress.done)
                self.results.beside_plain.append(found)
                self._progress.done(0, f"{what}: × {found.ratio}")

    # -- the rest -------------------------------------------------------------------------------------------------

    def _growing(self) -> list[BenchCell]:
        """The stores that are said to cost the same after many orders; the reference stands first."""
        workers = self._settings.workers
        stores = [store for store in GROWN if store in self._settings.stores]
        worker = "gevent" if "gevent" in workers else workers[0]
        return [cell for store in stores for cell in largest_batches(worker, [store])]

    def _growth(self, generator: LoadGenerator) -> None:
        for cell in self._growing():
            grow = partial(self._grow, generator, cell, sizes(self._settings.growth))
            self._attempt("growth", cell, f"growth-{cell.name}", grow)

    def _grow(self, generator: LoadGenerator, cell: BenchCell, orders: Sequence[int], folder: Path) -> None:
        settings, step = self._settings, self._progress.doing
        self.results.growth += measure_growth(
            generator, cell, folder, sampling=settings.sampling, sizes=orders, step=step
        )
        last = self.results.growth[-1]
        self._progress.done(1, f"{cell.spelled}, {last.orders:,} orders: {last.ratio} of a fresh event")

    def _scaling(self, generator: LoadGenerator) -> None:
        """One cell, under sync: each of its workers is one more that wants the lock."""
        for largest in self._growing()[:1]:
            cell = msgspec.structs.replace(largest, worker="sync")
            self._attempt("scaling", cell, "scaling", partial(self._scale, generator, cell))

    def _scale(self, generator: LoadGenerator, cell: BenchCell, folder: Path) -> None:
        quick, sampling = self._settings.quick, self._settings.sampling
        found = measure_scaling(
            generator,
            cell,
            folder,
            sampling=msgspec.structs.replace(sampling, pairs=1 if quick else min(5, sampling.pairs)),
            clients=CLIENTS,
            workers=QUICK_WORKERS if quick else WORKERS,
            step=self._progress.doing,
        )
        self.results.scaling.append(found)
        best = max(found.rows, key=lambda row: row.sold_per_s)
        self._progress.done(1, f"{cell.spelled}: most with {best.workers} workers, {best.sold_per_s:,.0f} sold/s")

    def _in_process(self, _generator: LoadGenerator) -> None:
        for given in without_http.cells(self._settings.stores):
            folder = f"in-process-{given.store}-{given.guard}-{given.threads}"
            cell = BenchCell("-", given.store, given.guard, given.batch)
            self._attempt("in-process", cell, folder, partial(self._without_http, given))

    def _without_http(self, given: InProcess, folder: Path) -> None:
        name = f"{given.store} + {given.guard} without HTTP, {given.threads} thread{'s' * (given.threads > 1)}"
        self._progress.doing(name)
        found = without_http.measure(given, folder, self._settings.sampling.seconds)
        self.results.in_process.append(found)
        self._progress.done(1, f"{name}: {found.sold_per_s:,.0f} sold/s")

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def _attempt(
        self, part: str, cell: BenchCell, folder: str, measure: Callable[[Path], None], steps: int = 1
    ) -> None:
        """Measure, or note why not; one cell that cannot be measured does not end the others."""
        why = self._refused.get((cell.store, cell.guard))
        failed = False
        if why is None:
            try:
                measure(self._servers / folder)
                return
            except NotAvailable as refused:
                why = self._refused[cell.store, cell.guard] = str(refused)
            except _FAILURES as error:
                why, failed = str(error).partition("\n")[0], True
            finally:
                self._drop_data(self._servers / folder)
        self.results.missing.append(NotMeasured(part, **cell.identity, why=why, failed=failed))
        shape = cell.worker if cell.processes is None else f"{cell.worker} × {cell.processes}"
        self._progress.done(steps, f"{shape}, {cell.spelled}: not {'measured' if failed else 'available'}: {why}")

    @staticmethod
    def _drop_data(folder: Path) -> None:
        """Remove the tickets sold, which are of no use afterwards; the servers' logs stay."""
        for data in list(folder.rglob("data")):
            shutil.rmtree(data, ignore_errors=True)
