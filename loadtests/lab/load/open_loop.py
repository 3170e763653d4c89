"""The open loop: arrivals keep to a schedule, whatever the service does. Latency counts from the schedule.

Buyers of a closed loop wait for their answer before they ask again; a service that stalls is then asked less, and
its stall shows in one latency per buyer instead of in all the requests that should have come meanwhile. That is
*coordinated omission*. Here each arrival is a greenlet of its own that starts at its intended time, and the history
keeps that time (``intended_ns``): the latency includes every delay, of the service or of this load generator.

The number of requests in flight has a bound. An arrival that meets the bound waits in line: it is counted, its waiting
is in its latency, and no arrival is dropped while the run lasts.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

import gevent
import numpy as np
from gevent.event import Event
from gevent.pool import Pool
from locust.exception import StopUser

from loadtests.lab.experiment.measurement import quantile
from loadtests.lab.history.arrivals import ArrivalStats
from loadtests.lab.history.recorder import Operation
from loadtests.lab.load.schedule import gaps_ns

REFUSALS_PER_PATIENCE = 10
GIVE_UP_AFTER = 100
GIVE_UP_AFTER_S = 10.0
"""An engine that is started again needs some seconds, and many buyers arrive meanwhile."""
MOST_ERRORS = 10_000
"""A service that is too busy answers with errors and is not gone. After this many errors in a row it counts as gone."""
_POLL_S = 0.01


def found_nothing_left(refused: Operation) -> bool:
    """Whether not even one ticket remained. Without a guard less than none may remain.

    Of whom somebody else was faster, with the seat that they wanted, other seats are left to look at.
    """
    if refused.seat:
        return False
    if refused.remaining is None:
        return refused.outcome == "sold_out" and (refused.quantity or 1) == 1
    return refused.remaining <= 0


class ArrivalStream:
    """What the arrivals found, one after another: it decides when the stream ends."""

    def __init__(self, patience: int, nothing_left: Callable[[Operation], bool] = found_nothing_left) -> None:
        """``nothing_left`` says of a refusal whether not even one ticket remained."""
        self._nothing_left = nothing_left
        self._most_refusals = REFUSALS_PER_PATIENCE * patience
        self._refusals = 0
        self._failures = 0
        self._errors = 0
        self._well = time.monotonic()

    @property
    def has_enough(self) -> bool:
        """Whether enough arrivals in a row found nothing left, or the service must be gone.

        It must be gone where many arrivals had no answer for some time, or very many had errors alone.
        """
        unanswered = self._failures >= GIVE_UP_AFTER and time.monotonic() - self._well >= GIVE_UP_AFTER_S
        gone = unanswered or self._errors >= MOST_ERRORS
        return gone or self._refusals >= self._most_refusals

    def saw(self, purchase: Operation) -> None:
        """Take in the answer to a purchase; to be called for each."""
        match purchase.outcome:
            case "ok":
                self._refusals = self._failures = self._errors = 0
                self._well = time.monotonic()
            case "sold_out" | "seat_taken" | "section_sold_out" | "not_together":
                self._failures = self._errors = 0
                self._well = time.monotonic()
                if self._nothing_left(purchase):
                    self._refusals += 1
            case _:
                self._errors += 1
                self._failures = self._failures + 1 if purchase.status is None else 0


class OpenLoop:
    """One stream of arrivals, in one locust process."""

    def __init__(self, rate: float, kind: str, bound: int, rng: random.Random, over: Event) -> None:
        """``over`` ends the stream at once, also while an arrival waits in line."""
        self._rate = rate
        self._bound = bound
        self._over = over
        self._gaps = gaps_ns(rate, kind, rng)
        self._pool = Pool(bound)
        self._lags_ns: list[int] = []
        self._due = self._started = self._waited = self._most = 0
        self._line_moved_ns = 0

    def run(self, arrive: Callable[[int], object], stream: ArrivalStream) -> None:
        """Call ``arrive(intended_ns)`` in a greenlet of its own at each arrival, until the stream or the run ends."""
        intended_ns = time.monotonic_ns()
        for gap_ns in self._gaps:
            intended_ns += gap_ns
            self._wait_until(intended_ns)
            if self._over.is_set() or stream.has_enough:
                return
            self._due += 1
            waited = self._stand_in_line(intended_ns)
            if self._over.is_set():
                return
            self._pool.spawn(self._start, arrive, intended_ns, waited)
            self._most = max(self._most, len(self._pool))

    def drain(self, grace_s: float) -> None:
        """Wait until no request is in flight. After the end of the run wait ``grace_s`` at most; others are unknown."""
        while len(self._pool) and grace_s and not self._over.is_set():
            self._pool.join(_POLL_S)
        self._pool.join(grace_s)
        self._pool.kill(block=True)

    def stats(self) -> ArrivalStats:
        """The figures so far."""
        lags_ns = np.array(self._lags_ns, np.float64)
        return ArrivalStats(
            rate=self._rate,
            due=self._due,
            started=self._started,
            waited_at_bound=self._waited,
            most_in_flight=self._most,
            bound=self._bound,
            lag_p99_ms=round((quantile(lags_ns, 0.99) or 0.0) / 1e6, 3),
            lag_max_ms=round(max(self._lags_ns, default=0) / 1e6, 3),
        )

    def _wait_until(self, intended_ns: int) -> None:
        ahead_s = (intended_ns - time.monotonic_ns()) / 1e9
        if ahead_s > 0:
            self._over.wait(ahead_s)
        else:
            gevent.sleep(0)  # late: requests in flight must have their turn all the same, or nothing is ever answered

    def _stand_in_line(self, intended_ns: int) -> bool:
        """Wait for a place among the requests in flight; returns whether this arrival, or one before it, waited."""
        if self._pool.full():
            while self._pool.full() and not self._over.is_set():
                self._pool.wait_available(timeout=_POLL_S)
            self._line_moved_ns = time.monotonic_ns()
        waited = intended_ns < self._line_moved_ns
        self._waited += waited
        return waited

    def _start(self, arrive: Callable[[int], object], intended_ns: int, waited: bool) -> None:
        if self._over.is_set():
            return
        self._started += 1
        if not waited:
            self._lags_ns.append(time.monotonic_ns() - intended_ns)
        with contextlib.suppress(StopUser):
            arrive(intended_ns)
