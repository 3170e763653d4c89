"""The office beside plain programs: which stands beside which, the marks that were set beforehand, the measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from loadtests.lab.bench.cells import MEASURED, PLAIN, BenchCell, largest_batches
from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.load_client import Window
from loadtests.lab.bench.paired import (
    SOLD,
    CellFigures,
    Interval,
    Measurer,
    cpu_us,
    latency_ms,
    median_interval,
    others,
)
from loadtests.lab.bench.servers import Subject
from loadtests.lab.bench.targets import CLIENTS, SpeedTarget
from loadtests.lab.servers.office import Service
from service.catalogue import GROWING, GROWN_MARKS, Plain

SHAPES = (("sync", 4), ("sync", 16), ("gthread", 2), ("gevent", 2))
"""Worker models and numbers of processes, in the order of the marks."""
_STEADY = (0.95, 1.05)


class Rival(NamedTuple):
    """A store under a guard, and the program that stands beside it."""

    store: str
    guard: str
    plain: Plain

    @property
    def what(self) -> str:
        return f"`{self.store}`, {self.plain.beside}"


RIVALS = tuple(
    Rival(store, each.guard, each.plain)
    for store, benchmarked in MEASURED.items()
    for each in benchmarked
    if each.plain is not None
)
_GROWN_UNDER = (SHAPES[0], SHAPES[3])


class BesidePlain(CellFigures, kw_only=True):
    """A cell beside a plain program."""

    plain: str
    plain_per_s: float
    plain_p99_ms: float | None
    plain_cpu_us: float | None
    plain_other_answers: dict[int, int]
    null: Interval | None
    """The null pair: neighbouring windows of the plain program, one over the other; None where there is one window."""
    of_cpu: Interval | None
    """The CPU time of the plain program's workers for a sale, over that of ours."""

    @property
    def target(self) -> SpeedTarget | None:
        """The mark and what is judged by it: the ratio, but under gthread the CPU time where the null pair is wide."""
        mine = (self.store, self.guard, self.plain)
        [rival] = [each for each in RIVALS if (each.store, each.guard, each.plain.program) == mine]
        wanted = dict(zip(SHAPES, rival.plain.marks, strict=True)).get((self.worker, self.processes))
        if wanted is None or self.clients != CLIENTS:
            return None
        shape = spelled(self.worker, self.processes)
        steady = self.null is not None and _STEADY[0] <= self.null.low and self.null.high <= _STEADY[1]
        if self.worker == "gthread" and not steady and self.of_cpu is not None:
            return SpeedTarget(shape, rival.what, wanted, self.of_cpu, by="CPU")
        return SpeedTarget(shape, rival.what, wanted, self.ratio)


def spelled(worker: str, processes: int) -> str:
    """``sync × 16``"""
    return Service(worker=worker, processes=processes).spelled


def pairings(workers: Sequence[str], stores: Sequence[str], *, quick: bool) -> list[tuple[BenchCell, BenchCell]]:
    """Each cell of the office with its largest batch, and the cell of the program beside it."""
    found = []
    for rival in RIVALS:
        for worker, processes in SHAPES:
            if rival.store in stores and worker in workers and (rival.plain.in_quick or not quick):
                cells = {cell.guard: cell for cell in largest_batches(worker, [rival.store])}
                ours = msgspec.structs.replace(cells[rival.guard], processes=processes)
                is_ceiling = rival.plain.program == "bare"
                store, guard = (rival.plain.program, "-") if is_ceiling else (PLAIN, rival.plain.program)
                found.append((ours, BenchCell(worker, store, guard, processes=processes)))
    return found


def growing(workers: Sequence[str], stores: Sequence[str]) -> list[BenchCell]:
    """The cells whose growth has a mark."""
    return [
        msgspec.structs.replace(cell, processes=processes)
        for worker, processes in _GROWN_UNDER
        if GROWING in stores and worker in workers
        for cell in largest_batches(worker, [GROWING])
    ]


def measure_beside(measurer: Measurer, ours: Subject, clients: int, step: Callable[[], None]) -> BesidePlain:
    """Pairs of ``ours`` with the plain program, which is the measurer's ceiling. Raises ``NothingSold``."""
    problems: list[str] = []
    pairs, plain, seed = measurer.pairs(ours, clients, problems, step), measurer.ceiling.cell, measurer.sampling.seed
    cpu = [(cpu_us([other]), cpu_us([mine])) for mine, other in zip(pairs.tested, pairs.other, strict=True)]
    of_cpu = [other / mine for other, mine in cpu if mine and other]
    null = null_ratios(pairs.other)
    return BesidePlain(
        **measurer.figures(ours, clients, pairs, problems),
        program=f"{ours.cell.spelled} beside {plain.spelled}",
        plain=plain.guard if plain.store == PLAIN else plain.store,
        plain_per_s=pairs.other_per_s,
        plain_p99_ms=latency_ms(pairs.other, 0.99),
        plain_cpu_us=cpu_us(pairs.other),
        plain_other_answers=others(pairs.other),
        null=median_interval(null, seed) if null else None,
        of_cpu=median_interval(of_cpu, seed) if of_cpu else None,
    )


def null_ratios(windows: Sequence[Window]) -> list[float]:
    """Neighbours, one over the other; every second ratio is turned round, so that a drift meets both sides alike."""
    rates = [each.per_s(SOLD) for each in windows]
    return [now / then if number % 2 else then / now for number, (then, now) in enumerate(pairwise(rates))]


class Mark(NamedTuple):
    """A mark, and what was found; None where it was not measured."""

    store: str
    what: str
    shape: str
    wanted: float
    found: SpeedTarget | None


def marks(measured: Sequence[BesidePlain], growth: Sequence[Grown]) -> Iterator[Mark]:
    """Every mark, row by row of the table that they make."""
    targets = [target for each in measured if (target := each.target) is not None]
    targets += [
        SpeedTarget(spelled(row.worker, row.processes), _grown(row.orders), GROWN_MARKS[row.orders], row.ratio)
        for row in growth
        if row.store == GROWING and row.orders in GROWN_MARKS and row.processes
    ]
    found = {(target.what, target.worker): target for target in targets}
    wanted = [
        (rival.store, rival.what, shape, mark)
        for rival in RIVALS
        for shape, mark in zip(SHAPES, rival.plain.marks, strict=True)
    ]
    wanted += [(GROWING, _grown(orders), shape, mark) for orders, mark in GROWN_MARKS.items() for shape in _GROWN_UNDER]
    for store, what, shape, mark in wanted:
        if mark is not None:
            yield Mark(store, what, spelled(*shape), mark, found.get((what, spelled(*shape))))


def _grown(orders: int) -> str:
    return f"`{GROWING}` from {orders:,} orders on, of a fresh event"
