"""Throughput against the number of workers, the limit that the critical section sets, and the law that fits."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from loadtests.lab.bench.cells import BenchCell
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import SOLD, Measurer, OfCell, Sampling, batch_sizes, mean_batch, median_held_ms
from loadtests.lab.bench.servers import subject

WORKERS = (1, 2, 4, 8, 16, 32)
QUICK_WORKERS = (1, 2, 4, 8)
_TERMS_TO_KEEP = ((0, 1, 2), (0, 1), (0, 2), (0,))


class Law(msgspec.Struct, frozen=True):
    """Gunther's universal scalability law: X(n) = λ n / (1 + σ (n - 1) + κ n (n - 1)).

    λ is what one worker does alone, σ the share of the work that only one can do at a time (contention), κ what each
    pair of workers costs each other (coherency). With κ = 0 it is Amdahl's law; with κ > 0 there is a number of workers
    beyond which more of them sell less. (N. J. Gunther, *Guerrilla Capacity Planning*, 2007.)
    """

    alone_per_s: float
    """λ"""
    contention: float
    """σ"""
    coherency: float
    """κ"""

    def per_s(self, n: float) -> float:
        """The predicted throughput."""
        return self.alone_per_s * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def best_workers(self) -> float | None:
        """The number of workers that sells the most; None where more are always better, or never worse."""
        if self.coherency <= 0:
            return None
        return max(1.0, math.sqrt(max(0.0, 1 - self.contention) / self.coherency))


def fit(workers: Sequence[int], per_s: Sequence[float]) -> Law:
    """Least squares of the relative errors of n / X(n), in which the law is linear; no parameter is negative.

    Raises ``ValueError`` for fewer than three numbers of workers or a throughput of nothing.
    """
    n, x = np.asarray(workers, dtype=float), np.asarray(per_s, dtype=float)
    if len(set(workers)) < 3 or (x <= 0).any():
        raise ValueError("the law is fitted to throughputs above zero at three numbers of workers or more")
    terms = np.stack([np.ones_like(n), n - 1, n * (n - 1)], axis=1) * (x / n)[:, None]
    wanted = np.ones_like(n)
    best: tuple[float, np.ndarray] | None = None
    for kept in _TERMS_TO_KEEP:
        # A negative parameter is noise: the fit without that term is taken then.
        found = np.zeros(3)
        found[list(kept)] = np.linalg.lstsq(terms[:, kept], wanted, rcond=None)[0]
        error = float(((terms @ found - wanted) ** 2).sum())
        if (found >= 0).all() and found[0] > 0 and (best is None or error < best[0]):
            best = error, found
    if best is None:
        raise ValueError("no such law fits these throughputs")
    a, b, c = best[1]
    return Law(float(1 / a), float(b / a), float(c / a))


class Scaled(msgspec.Struct, kw_only=True):
    """The figures with one number of workers."""

    workers: int
    sold_per_s: float
    limit_per_s: float | None
    """1 / hold: what one critical section after the other allows, times the purchases that each decides."""
    held_ms: float | None
    problems: list[str] = []


class Scaling(OfCell, kw_only=True):
    """All numbers of workers of one cell, and Gunther's law fitted to them; None where it does not fit."""

    clients: int
    rows: list[Scaled]
    law: Law | None = None
    best_workers: float | None = None


def measure_scaling(
    generator: LoadGenerator,
    cell: BenchCell,
    folder: Path,
    *,
    sampling: Sampling,
    clients: int,
    workers: tuple[int, ...],
    step: Callable[[str], None],
) -> Scaling:
    """Sell with each number of workers. Raises ``NotAvailable`` where the service does not offer the cell."""
    found = Scaling(**cell.identity, clients=clients, rows=[])
    for count in workers:
        step(f"{cell.spelled}: {cell.worker} × {count}")
        found.rows.append(_scaled(generator, msgspec.structs.replace(cell, processes=count), folder, sampling, clients))
    with contextlib.suppress(ValueError):
        found.law = fit([row.workers for row in found.rows], [row.sold_per_s for row in found.rows])
        found.best_workers = found.law.best_workers
    return found


def _scaled(generator: LoadGenerator, cell: BenchCell, folder: Path, sampling: Sampling, clients: int) -> Scaled:
    problems: list[str] = []
    with subject(cell, folder / cell.name) as office:
        measurer = Measurer(generator, office, sampling)
        windows = [measurer.window(office, clients, problems) for _ in range(sampling.pairs)]
    held_ms = median_held_ms(windows)
    return Scaled(
        workers=cell.service.shape[0],
        sold_per_s=statistics.median(each.per_s(SOLD) for each in windows),
        limit_per_s=(mean_batch(batch_sizes(windows)) or 1.0) / held_ms * 1e3 if held_ms else None,
        held_ms=held_ms,
        problems=problems,
    )
