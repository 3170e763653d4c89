"""When arrivals come: the times between them, decided by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator


def gaps_ns(rate: float, kind: str, dice: random.Random) -> Iterator[int]:
    """The times between arrivals, without end: exponential (a Poisson process), or equal after a first one by chance.

    By chance, so that several streams of equal gaps do not come all at once.
    """
    mean_ns = 1e9 / rate
    if kind == "uniform":
        yield round(mean_ns * dice.random())
    while True:
        yield round(mean_ns * dice.expovariate(1.0) if kind == "poisson" else mean_ns)
