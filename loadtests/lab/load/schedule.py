"""The times between arrivals, decided by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator


def gaps_ns(rate: float, kind: str, rng: random.Random) -> Iterator[int]:
    """Endless gaps between arrivals: exponential (a Poisson process), or equal after a random first one.

    The first one is random so that several streams of equal gaps do not arrive at the same moments.
    """
    mean_ns = 1e9 / rate
    if kind == "uniform":
        yield round(mean_ns * rng.random())
    while True:
        yield round(mean_ns * rng.expovariate(1.0) if kind == "poisson" else mean_ns)
