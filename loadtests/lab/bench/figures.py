"""The statistics of the benchmark: the order of windows, medians, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

_RESAMPLES = 4000
_CONFIDENCE = 0.95

Side = Literal["A", "B"]


class Interval(msgspec.Struct, frozen=True):
    """A median and its bootstrap interval."""

    median: float
    low: float
    high: float


def abba(pairs: int) -> list[tuple[Side, Side]]:
    """The order within each of so many pairs: A B, B A, A B …, so that a drift meets both sides alike."""
    return [("A", "B") if number % 2 == 0 else ("B", "A") for number in range(pairs)]


def median_interval(values: Sequence[float], seed: int) -> Interval:
    """The median with its 95 % percentile-bootstrap interval (Efron 1979). Same values and seed, same interval.

    Of few values the interval is too narrow: that of a single one is the value itself.
    """
    drawn = _medians_of_resamples(values, np.random.default_rng(seed))
    return _interval(float(np.median(values)), drawn)


def quotient_interval(above: Sequence[float], below: Sequence[float], seed: int) -> Interval:
    """The median of ``above`` over that of ``below``, each resampled by itself."""
    random = np.random.default_rng(seed)
    drawn = _medians_of_resamples(above, random) / _medians_of_resamples(below, random)
    return _interval(float(np.median(above)) / float(np.median(below)), drawn)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which ``share`` of them lie (nearest rank); None where there are none."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _medians_of_resamples(values: Sequence[float], random: np.random.Generator) -> np.ndarray:
    given = np.asarray(values, dtype=float)
    if not given.size:
        raise ValueError("there is no median of nothing")
    medians: np.ndarray = np.median(given[random.integers(0, given.size, (_RESAMPLES, given.size))], axis=1)
    return medians


def _interval(median: float, drawn: np.ndarray) -> Interval:
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(median, float(low), float(high))
