"""Pairs of windows: a program beside its ceiling, each window checked against what the server kept; the figures."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from loadtests.lab.bench.load_client import Load, LoadGenerator, Window
from loadtests.lab.bench.servers import Subject
from loadtests.lab.experiment.measurement import quantile
from loadtests.lab.history.generator_load import LIMIT

SOLD, _SOLD_OUT = 201, 409
_RESAMPLES = 4000
_CONFIDENCE = 0.95


class NothingSold(Exception):
    """A server under load that sold nothing: there is no rate to speak of."""


class Sampling(msgspec.Struct, frozen=True):
    """The number of windows, and their length."""

    pairs: int
    seconds: float
    seed: int = 1

    @property
    def warm_s(self) -> float:
        """Seconds of load before each window that are not measured."""
        return min(1.0, max(0.1, self.seconds / 3))


# -- figures ----------------------------------------------------------------------------------------------------------


class Interval(msgspec.Struct, frozen=True):
    """A median and its bootstrap interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median_interval(values: Sequence[float], seed: int) -> Interval:
    """The median with its 95 % percentile-bootstrap interval (Efron 1979). Same values and seed, same interval.

    Of few values the interval is too narrow: that of a single one is the value itself.
    """
    drawn = _medians_of_resamples(values, np.random.default_rng(seed))
    return _interval(float(np.median(values)), drawn)


def quotient_interval(above: Sequence[float], below: Sequence[float], seed: int) -> Interval:
    """The median of ``above`` over that of ``below``, each resampled on its own."""
    random = np.random.default_rng(seed)
    drawn = _medians_of_resamples(above, random) / _medians_of_resamples(below, random)
    return _interval(float(np.median(above)) / float(np.median(below)), drawn)


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


# -- pairs ------------------------------------------------------------------------------------------------------------


def abba(rounds: int, sides: Sequence[str] = "AB") -> list[tuple[str, ...]]:
    """The order within each round: A B, B A, A B …, so that a drift meets all sides alike."""
    return [tuple(sides if number % 2 == 0 else reversed(sides)) for number in range(rounds)]


class Pairs(msgspec.Struct):
    """Windows of a tested event or program, and an equal number of the other one that it is compared with."""

    tested: list[Window]
    other: list[Window]

    @property
    def windows(self) -> list[Window]:
        return [*self.tested, *self.other]

    @property
    def sold_per_s(self) -> float:
        return statistics.median(each.per_s(SOLD) for each in self.tested)

    @property
    def other_per_s(self) -> float:
        return statistics.median(each.per_s(SOLD) for each in self.other)

    @property
    def ratios(self) -> list[float]:
        """Pair by pair. Every window has sales: see ``refuse_if_nothing_sold``."""
        return [ours.per_s(SOLD) / other.per_s(SOLD) for ours, other in zip(self.tested, self.other, strict=True)]


def in_pairs(
    sampling: Sampling,
    other: Callable[[], Window],
    tested: Callable[[], Window],
    step: Callable[[], None] = lambda: None,
) -> Pairs:
    """Measure pair by pair; ``step`` is called after each."""
    found = Pairs([], [])
    for order in abba(sampling.pairs):
        for side in order:
            if side == "A":
                found.other.append(other())
            else:
                found.tested.append(tested())
        step()
    return found


def load_of(
    subject: Subject, path: str, clients: int, sampling: Sampling, *, count: int = 0, batches: bool = False
) -> Load:
    """The load of these clients on a server; with a ``count`` it is that many requests, and all are measured."""
    return Load(
        port=subject.port,
        path=path,
        clients=clients,
        warm_s=0.0 if count else sampling.warm_s,
        seconds=sampling.seconds,
        count=count,
        pids=subject.pids,
        batches=batches,
    )


class OfCell(msgspec.Struct, kw_only=True):
    """The cell of which something was measured."""

    worker: str
    store: str
    guard: str
    batch: int


class CellFigures(OfCell, kw_only=True):
    """The figures of a cell beside something else, at one number of clients.

    Rates are tickets a second, times the buyer's milliseconds.
    """

    program: str
    clients: int
    processes: int
    threads: int
    sold_per_s: float
    ratio: Interval
    """Sales over those of what it stands beside."""
    ratios: list[float]
    p99_ms: float | None
    cpu_us: float | None
    """CPU time of all workers for a sale, in microseconds."""
    generator_cpu: float
    """The share of a core that the load generator used, in the busiest window."""
    generator_saturated: bool
    other_answers: dict[int, int] = {}
    problems: list[str] = []
    """Sentences, where the server's own account contradicts what the buyers were told."""


class MeasuredCell(CellFigures, kw_only=True):
    """A cell beside the ceiling."""

    durable: bool
    ceiling_per_s: float
    p50_ms: float | None
    p999_ms: float | None
    ceiling_cpu_us: float | None
    refused_per_s: float | None = None
    """On an event that is sold out."""
    batch_mean: float | None = None
    batch_sizes: dict[int, int] = {}
    held_ms: float | None = None
    errors: dict[str, int] = {}
    start_s: float
    memory_mb: float | None = None


class Measurer:
    """Measures subjects against one running ceiling."""

    def __init__(self, generator: LoadGenerator, ceiling: Subject, sampling: Sampling) -> None:
        self._generator = generator
        self.ceiling = ceiling
        self.sampling = sampling

    def measure(self, tested: Subject, clients: int, step: Callable[[], None] = lambda: None) -> MeasuredCell:
        """Pairs of ``tested`` with the ceiling; ``step`` is called after each."""
        problems: list[str] = []
        pairs = self.pairs(tested, clients, problems, step)
        refused_per_s = self._refused_per_s(tested, clients, problems)
        sizes = batch_sizes(pairs.tested)
        return MeasuredCell(
            **self.figures(tested, clients, pairs, problems),
            program=tested.cell.spelled,
            durable=tested.cell.is_office,
            ceiling_per_s=pairs.other_per_s,
            p50_ms=latency_ms(pairs.tested, 0.5),
            p999_ms=latency_ms(pairs.tested, 0.999),
            ceiling_cpu_us=cpu_us(pairs.other),
            refused_per_s=refused_per_s,
            batch_mean=mean_batch(sizes),
            batch_sizes=dict(sorted(sizes.items())),
            held_ms=median_held_ms(pairs.tested),
            errors=dict(sum((Counter(each.errors) for each in pairs.tested), Counter[str]())),
            start_s=tested.start_s,
            memory_mb=tested.memory_mb(),
        )

    def pairs(self, tested: Subject, clients: int, problems: list[str], step: Callable[[], None]) -> Pairs:
        """The pairs alone. Raises ``NothingSold``."""
        pairs = in_pairs(
            self.sampling,
            lambda: self.window(self.ceiling, clients, problems),
            lambda: self.window(tested, clients, problems),
            step,
        )
        refuse_if_nothing_sold(tested, pairs.tested)
        refuse_if_nothing_sold(self.ceiling, pairs.other)
        return pairs

    def window(self, tested: Subject, clients: int, problems: list[str]) -> Window:
        """One window on a fresh event; what does not agree with what was kept goes to ``problems``."""
        path = tested.fresh()
        window = self._on(tested, path, clients)
        if problem := disagreement(window, tested.kept(path)):
            problems.append(problem)
        return window

    def _refused_per_s(self, tested: Subject, clients: int, problems: list[str]) -> float | None:
        """Purchases refused a second when all is sold; None where nothing is ever sold out."""
        path = tested.fresh(capacity=1)
        if tested.kept(path) is None:
            return None
        window = self._on(tested, path, clients)
        told, kept = window.told.get(SOLD, 0), tested.kept(path)
        if told != 1 or kept != 1:
            problems.append(f"of the only ticket {told} were sold, and {kept} kept")
        return window.per_s(_SOLD_OUT)

    def _on(self, tested: Subject, path: str, clients: int) -> Window:
        load = load_of(tested, path, clients, self.sampling, batches=tested.cell.is_office)
        return self._generator.window(load)

    def figures(self, tested: Subject, clients: int, pairs: Pairs, problems: list[str]) -> dict[str, Any]:
        """The fields of ``CellFigures`` but for the program's name."""
        processes, threads = tested.service.shape
        generator_cpu = max(each.busy.computing for each in pairs.windows)
        return {
            **tested.cell.identity,
            "clients": clients,
            "processes": processes,
            "threads": threads,
            "sold_per_s": pairs.sold_per_s,
            "ratio": median_interval(pairs.ratios, self.sampling.seed),
            "ratios": pairs.ratios,
            "p99_ms": latency_ms(pairs.tested, 0.99),
            "cpu_us": cpu_us(pairs.tested),
            "generator_cpu": generator_cpu,
            "generator_saturated": generator_cpu >= LIMIT,
            "other_answers": others(pairs.tested),
            "problems": problems,
        }


def refuse_if_nothing_sold(tested: Subject, windows: Sequence[Window]) -> None:
    """Raise ``NothingSold`` where a window has no sale: there is no rate then, and no ratio."""
    for window in windows:
        if not window.answers.get(SOLD):
            told = ", ".join(f"{count:,} × {what}" for what, count in [*window.told.items(), *window.errors.items()])
            raise NothingSold(
                f"in a window of {window.seconds:.2f} s nothing was sold; the answers were {told or 'none'}. Longer "
                f"windows (--seconds) may do; its log is {tested.log}"
            )


def disagreement(window: Window, kept: int | None) -> str | None:
    """A sentence, where the sales that buyers were told of and those that the server kept contradict each other.

    A request that was never answered may have been carried out: for each of them one more sale may have been kept.
    """
    told = window.told.get(SOLD, 0)
    if kept is None or told <= kept <= told + window.unknown:
        return None
    perhaps = f" ({window.unknown:,} were never answered)" if window.unknown else ""
    return f"buyers were told of {told:,} sales{perhaps}, and {kept:,} were kept"


def batch_sizes(windows: Sequence[Window]) -> Counter[int]:
    """The number of transactions of each size."""
    return sum((Counter(each.batch_sizes) for each in windows), Counter[int]())


def mean_batch(sizes: Counter[int]) -> float | None:
    """Purchases that a transaction decided, on average."""
    return sum(size * count for size, count in sizes.items()) / sizes.total() if sizes else None


def median_held_ms(windows: Sequence[Window]) -> float | None:
    """The time that a transaction held the guard; None where no answer said so."""
    held = [each.held_ms for each in windows if each.held_ms is not None]
    return statistics.median(held) if held else None


def cpu_us(windows: Sequence[Window]) -> float | None:
    """CPU time for a sale, over all windows: the kernel counts in hundredths of a second."""
    sold, used = sum(each.answers.get(SOLD, 0) for each in windows), sum(each.cpu_s for each in windows)
    return used / sold * 1e6 if sold and used else None


def others(windows: Sequence[Window]) -> dict[int, int]:
    """Answers other than ``201``, by status."""
    counted = sum((Counter(each.told) for each in windows), Counter[int]())
    return {status: count for status, count in sorted(counted.items()) if status != SOLD}


def latency_ms(windows: Sequence[Window], share: float) -> float | None:
    """The time within which this share of the answers came; None where there were none."""
    us = quantile(np.array([us for window in windows for us in window.latencies_us], np.float64), share)
    return None if us is None else us / 1e3
