"""Throughput against the number of workers, the limit that the critical section sets, and the law that fits."""

from __future__ import annotations

import contextlib
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from loadtests.lab.bench.cells import Cell
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import Measurer, Shape
from loadtests.lab.bench.scalability import Law, fit
from loadtests.lab.bench.servers import subject

WORKERS = (1, 2, 4, 8, 16, 32)
QUICK_WORKERS = (1, 2, 4, 8)
_SOLD = 201


class Scaled(msgspec.Struct, kw_only=True):
    """One number of workers."""

    workers: int
    sold_per_s: float
    limit_per_s: float | None
    """1 / hold: what one critical section after the other allows, times the purchases that each decides."""
    held_ms: float | None
    problems: list[str] = []


class Scaling(msgspec.Struct, kw_only=True):
    """All numbers of workers of one cell, and Gunther's law fitted to them; None where it does not fit."""

    worker: str
    store: str
    guard: str
    batch: int
    clients: int
    rows: list[Scaled]
    law: Law | None = None
    best_workers: float | None = None


def measure_scaling(
    generator: LoadGenerator,
    cell: Cell,
    folder: Path,
    *,
    shape: Shape,
    clients: int,
    workers: tuple[int, ...],
    step: Callable[[str], None],
) -> Scaling:
    """Sell with each number of workers. Raises ``NotAvailable`` where the service does not offer the cell."""
    found = Scaling(worker=cell.worker, store=cell.store, guard=cell.guard, batch=cell.batch, clients=clients, rows=[])
    for count in workers:
        step(f"{cell.spelled}: {cell.worker} × {count}")
        found.rows.append(_scaled(generator, msgspec.structs.replace(cell, processes=count), folder, shape, clients))
    with contextlib.suppress(ValueError):
        found.law = fit([row.workers for row in found.rows], [row.sold_per_s for row in found.rows])
        found.best_workers = found.law.best_workers
    return found


def _scaled(generator: LoadGenerator, cell: Cell, folder: Path, shape: Shape, clients: int) -> Scaled:
    problems: list[str] = []
    with subject(cell, folder / cell.name) as office:
        measurer = Measurer(generator, office, shape)
        windows = [measurer.window(office, clients, problems) for _ in range(shape.pairs)]
    held = [each.held_ms for each in windows if each.held_ms]
    sizes = sum((Counter(each.batch_sizes) for each in windows), Counter[int]())
    mean_batch = sum(size * count for size, count in sizes.items()) / sizes.total() if sizes else 1.0
    return Scaled(
        workers=cell.service.shape[0],
        sold_per_s=statistics.median(each.per_s(_SOLD) for each in windows),
        limit_per_s=mean_batch / statistics.median(held) * 1e3 if held else None,
        held_ms=statistics.median(held) if held else None,
        problems=problems,
    )
