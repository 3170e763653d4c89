"""The results as tables, for the terminal, the report and the documentation alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.lab.bench.figures import Interval
from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import Measured
from loadtests.lab.bench.results import Results
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.bench.targets import Mark
from loadtests.lab.bench.without_http import WithoutHttp
from loadtests.lab.report.tables import Grid

_LEFT = frozenset({"worker", "program", "store", "guard", "mark", "reached"})
_NULL = "the ceiling against itself"


@dataclass
class BenchGrid(Grid):
    """A grid with the benchmark's columns of words."""

    words: frozenset[str] = _LEFT


def grids(results: Results) -> list[Grid]:
    """Everything that was measured, the marks first."""
    measured = in_order(results)
    found = [
        _marks(results.marks),
        _cells(measured),
        _growth(results.growth),
        *map(_scaling, results.scaling),
        _without_http(results.in_process),
        _starts(measured),
    ]
    return [grid for grid in found if grid.rows]


def in_order(results: Results) -> list[Measured]:
    """The worker models in the order in which they were measured, in each the ceilings first."""
    measured = [*results.ceilings, *results.cells]
    workers = list(dict.fromkeys(each.worker for each in measured))
    return sorted(measured, key=lambda each: workers.index(each.worker))


def _cells(measured: Sequence[Measured]) -> Grid:
    columns = ["worker", "program", "clients", "sold/s", "ceiling/s", "of the ceiling", "refused/s", "p50 ms", "p99 ms",
               "p99.9 ms", "CPU µs", "ceiling's", "batch", "other"]  # fmt: skip
    ends = {n for n in range(len(measured) - 1) if measured[n].worker != measured[n + 1].worker}
    return BenchGrid("One hot event, one ticket a purchase", columns, [_cell(each) for each in measured], ends)


def _cell(each: Measured) -> list[str]:
    return [
        shape_of(each),
        ("! " if each.problems else "") + program_of(each),
        f"{each.clients:,}",
        f"{each.sold_per_s:,.0f}",
        f"{each.ceiling_per_s:,.0f}",
        ratio(each.ratio),
        _count(each.refused_per_s),
        _ms(each.p50_ms),
        _ms(each.p99_ms),
        _ms(each.p999_ms),
        _count(each.cpu_us),
        _count(each.ceiling_cpu_us),
        "–" if each.batch_mean is None else f"{each.batch_mean:.1f}",
        f"{sum(each.other_answers.values()) + sum(each.errors.values()):,}",
    ]


def shape_of(each: Measured) -> str:
    """``gthread 2 × 16``"""
    return (
        f"{each.worker} {each.processes} × {each.threads}" if each.threads > 1 else f"{each.worker} × {each.processes}"
    )


def program_of(each: Measured) -> str:
    """The program's name; the null pair says what it is."""
    return _NULL if each.store == "stubbed" else each.program + ("" if each.durable else " (not durable)")


def _marks(marks: Sequence[Mark]) -> Grid:
    rows = [[each.worker, each.what, f"{each.wanted:.2f}", ratio(each.found), each.verdict] for each in marks]
    title = "The marks: journal + file with the largest batch; reached if the whole interval is"
    return BenchGrid(title, ["worker", "mark", "wanted", "found", "reached"], rows)


def _growth(growth: Sequence[Grown]) -> Grid:
    columns = [
        "store",
        "orders",
        "sold/s",
        "fresh event/s",
        "of a fresh event",
        "MB a worker",
        "opened again, s",
        "MB then",
    ]
    rows = [
        [
            row.store,
            f"{row.orders:,}",
            _count(row.sold_per_s),
            _count(row.fresh_per_s),
            ratio(row.ratio),
            _count(row.memory_mb),
            "" if row.reopened_s is None else f"{row.reopened_s:.2f}",
            "" if row.reopened_mb is None else _count(row.reopened_mb),
        ]
        for row in growth
    ]
    return BenchGrid("An event that grows, beside a fresh one", columns, rows)


def _scaling(scaling: Scaling) -> Grid:
    rows = [
        [
            str(row.workers),
            _count(row.sold_per_s),
            _count(row.limit_per_s),
            "–" if scaling.law is None else f"{scaling.law.per_s(row.workers):,.0f}",
            "–" if row.held_ms is None else f"{row.held_ms:.2f}",
        ]
        for row in scaling.rows
    ]
    return BenchGrid(law_in_words(scaling), ["workers", "sold/s", "1/hold", "the law", "hold ms"], rows)


def law_in_words(scaling: Scaling) -> str:
    """The fitted law and what it says about more workers."""
    name = f"{scaling.store} + {scaling.guard}, {scaling.worker}, {scaling.clients} clients"
    if scaling.law is None:
        return f"{name}: no law of this form fits"
    law = scaling.law
    best = "more are never worse" if scaling.best_workers is None else f"most with {scaling.best_workers:.1f}"
    shown = f"{law.alone_per_s:,.0f} n / (1 + {law.contention:.3f} (n − 1) + {law.coherency:.4f} n (n − 1))"
    return f"{name}: X(n) = {shown}; {best}"


def _without_http(rows: Sequence[WithoutHttp]) -> Grid:
    columns = ["store", "guard", "batch", "threads", "sold/s", "the rules alone/s"]
    shown = [
        [row.store, row.guard, str(row.batch), str(row.threads), _count(row.sold_per_s), _count(row.decisions_per_s)]
        for row in rows
    ]
    return BenchGrid("Without HTTP, in one process", columns, shown)


def _starts(measured: Sequence[Measured]) -> Grid:
    first = {(each.worker, each.program): each for each in reversed(measured)}
    rows = [
        [shape_of(each), each.program, f"{each.start_s:.2f}", _count(each.memory_mb)]
        for each in measured
        if first[each.worker, each.program] is each
    ]
    return BenchGrid("Start-up and memory", ["worker", "program", "seconds until ready", "MB, largest worker"], rows)


def ratio(value: Interval) -> str:
    """``0.87 [0.85, 0.90]``"""
    return f"{value.median:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
