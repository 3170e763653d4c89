"""Gunther's universal scalability law, fitted to throughputs at several numbers of workers.

    X(n) = λ n / (1 + σ (n - 1) + κ n (n - 1))

λ is what one worker does alone, σ the share of the work that only one can do at a time (contention), κ what each
pair of workers costs each other (coherency). With κ = 0 it is Amdahl's law; with κ > 0 there is a number of workers
beyond which more of them sell less. (N. J. Gunther, *Guerrilla Capacity Planning*, 2007.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

_TERMS_TO_KEEP = ((0, 1, 2), (0, 1), (0, 2), (0,))


class Law(msgspec.Struct, frozen=True):
    """The fitted parameters; ``per_s`` gives what they predict."""

    alone_per_s: float
    """λ"""
    contention: float
    """σ"""
    coherency: float
    """κ"""

    def per_s(self, workers: float) -> float:
        """The throughput that the law predicts for so many workers."""
        n = workers
        return self.alone_per_s * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def best_workers(self) -> float | None:
        """How many workers sell the most; None where more are always better, or never worse."""
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
