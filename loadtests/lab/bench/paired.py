"""One cell, measured: pairs of windows with the ceiling, each window checked against what the server kept."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from loadtests.lab.bench.figures import Interval, abba, median_interval, percentile
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.servers import Subject
from loadtests.lab.bench.window import Load, Window
from loadtests.lab.history.generator_load import LIMIT

_SOLD, _SOLD_OUT = 201, 409


class NothingSold(Exception):
    """A server under load that sold nothing: there is no rate to speak of."""


class Shape(msgspec.Struct, frozen=True):
    """How long and how often is measured."""

    pairs: int
    seconds: float
    seed: int = 1

    @property
    def warm_s(self) -> float:
        """What is discarded before each window."""
        return min(1.0, max(0.1, self.seconds / 3))


class Measured(msgspec.Struct, kw_only=True):
    """What a cell did at one number of clients. Rates are tickets a second; times are the buyer's milliseconds."""

    worker: str
    store: str
    guard: str
    batch: int
    orders: int
    program: str
    clients: int
    processes: int
    threads: int
    durable: bool
    sold_per_s: float
    ceiling_per_s: float
    ratio: Interval
    ratios: list[float]
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    cpu_us: float | None
    """CPU time of all workers for a sale, in microseconds."""
    ceiling_cpu_us: float | None
    refused_per_s: float | None = None
    """On an event that is sold out."""
    batch_mean: float | None = None
    batch_sizes: dict[int, int] = {}
    held_ms: float | None = None
    generator_cpu: float
    """The share of a core that the load generator used, in the busiest window."""
    generator_saturated: bool
    other_answers: dict[int, int] = {}
    errors: dict[str, int] = {}
    problems: list[str] = []
    """What the server's own account says against what the buyers were told."""
    start_s: float
    memory_mb: float | None = None


class Measurer:
    """Measures subjects against one running ceiling."""

    def __init__(self, generator: LoadGenerator, ceiling: Subject, shape: Shape) -> None:
        self._generator = generator
        self._ceiling = ceiling
        self._shape = shape

    def measure(self, tested: Subject, clients: int, step: Callable[[], None] = lambda: None) -> Measured:
        """Pairs of ``tested`` with the ceiling; ``step`` is called after each."""
        ours: list[Window] = []
        ceilings: list[Window] = []
        problems: list[str] = []
        for order in abba(self._shape.pairs):
            for side in order:
                if side == "A":
                    ceilings.append(self.window(self._ceiling, clients, problems))
                else:
                    ours.append(self.window(tested, clients, problems))
            step()
        return self._summary(tested, clients, ours, ceilings, problems)

    def refused_per_s(self, tested: Subject, clients: int, problems: list[str]) -> float | None:
        """Purchases refused a second when all is sold; None where nothing is ever sold out."""
        path = tested.fresh(capacity=1)
        if tested.kept(path) is None:
            return None
        window = self._generator.window(self._load(tested, path, clients))
        told, kept = window.told.get(_SOLD, 0), tested.kept(path)
        if told != 1 or kept != 1:
            problems.append(f"of the only ticket {told} were sold, and {kept} kept")
        return window.per_s(_SOLD_OUT)

    def window(self, tested: Subject, clients: int, problems: list[str]) -> Window:
        """One window on a fresh event; what does not agree with what was kept goes to ``problems``."""
        path = tested.fresh()
        window = self._generator.window(self._load(tested, path, clients))
        problem = disagreement(window, tested.kept(path))
        if problem:
            problems.append(problem)
        return window

    def _load(self, tested: Subject, path: str, clients: int) -> Load:
        return Load(
            port=tested.port,
            path=path,
            clients=clients,
            warm_s=self._shape.warm_s,
            seconds=self._shape.seconds,
            pids=tested.pids,
            batches=tested.cell.durable,
        )

    def _summary(
        self, tested: Subject, clients: int, ours: list[Window], ceilings: list[Window], problems: list[str]
    ) -> Measured:
        cell, (processes, threads) = tested.cell, tested.service.shape
        rates, tops = [[each.per_s(_SOLD) for each in windows] for windows in (ours, ceilings)]
        refuse_if_nothing_sold(tested, ours)
        refuse_if_nothing_sold(self._ceiling, ceilings)
        ratios = [rate / top for rate, top in zip(rates, tops, strict=True)]
        latencies = sorted(us for window in ours for us in window.latencies_us)
        sizes = sum((Counter(window.batch_sizes) for window in ours), Counter[int]())
        held = [window.held_ms for window in ours if window.held_ms is not None]
        refused = self.refused_per_s(tested, clients, problems)
        return Measured(
            worker=cell.worker,
            store=cell.store,
            guard=cell.guard,
            batch=cell.batch,
            orders=cell.orders,
            program=cell.spelled,
            durable=cell.durable,
            clients=clients,
            processes=processes,
            threads=threads,
            sold_per_s=statistics.median(rates),
            ceiling_per_s=statistics.median(tops),
            ratio=median_interval(ratios, self._shape.seed),
            ratios=ratios,
            p50_ms=_ms(percentile(latencies, 0.5)),
            p99_ms=_ms(percentile(latencies, 0.99)),
            p999_ms=_ms(percentile(latencies, 0.999)),
            cpu_us=_cpu_us(ours),
            ceiling_cpu_us=_cpu_us(ceilings),
            refused_per_s=refused,
            batch_mean=sum(size * count for size, count in sizes.items()) / sizes.total() if sizes else None,
            batch_sizes=dict(sorted(sizes.items())),
            held_ms=statistics.median(held) if held else None,
            generator_cpu=max(each.busy.computing for each in [*ours, *ceilings]),
            generator_saturated=any(_saturated(each) for each in [*ours, *ceilings]),
            other_answers=_others(ours),
            errors=dict(sum((Counter(each.errors) for each in ours), Counter[str]())),
            problems=problems,
            start_s=tested.start_s,
            memory_mb=tested.memory_mb(),
        )


def refuse_if_nothing_sold(tested: Subject, windows: Sequence[Window]) -> None:
    """Raise ``NothingSold`` where a window has no sale: there is no rate then, and no ratio."""
    for window in windows:
        if not window.answers.get(_SOLD):
            told = ", ".join(f"{count:,} × {what}" for what, count in [*window.told.items(), *window.errors.items()])
            raise NothingSold(
                f"in a window of {window.seconds:.2f} s nothing was sold; the answers were {told or 'none'}. Longer "
                f"windows (--seconds) may do; its log is {tested.log}"
            )


def disagreement(window: Window, kept: int | None) -> str | None:
    """Why what buyers were told and what the server kept cannot both be true; None where they can.

    A request that was never answered may have been carried out, so there may be as many more as there are of those.
    """
    told = window.told.get(_SOLD, 0)
    if kept is None or told <= kept <= told + window.unknown:
        return None
    perhaps = f" ({window.unknown:,} were never answered)" if window.unknown else ""
    return f"buyers were told of {told:,} sales{perhaps}, and {kept:,} were kept"


def _cpu_us(windows: Sequence[Window]) -> float | None:
    """Over all windows, for the kernel's account is coarse: a hundredth of a second."""
    sold, used = sum(each.answers.get(_SOLD, 0) for each in windows), sum(each.cpu_s for each in windows)
    return used / sold * 1e6 if sold and used else None


def _saturated(window: Window) -> bool:
    return window.busy.computing >= LIMIT


def _others(windows: Sequence[Window]) -> dict[int, int]:
    """What was answered but ``201``, by status."""
    counted = sum((Counter(each.told) for each in windows), Counter[int]())
    return {status: count for status, count in sorted(counted.items()) if status != _SOLD}


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1e3
