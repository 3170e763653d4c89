"""The results as tables and notes, for the terminal, the report and the documentation alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table
from rich.text import Text

from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import Measured
from loadtests.lab.bench.results import BenchResults, not_available
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.bench.targets import SpeedTarget
from loadtests.lab.bench.without_http import WithoutHttp
from service.catalogue import REFERENCE

_LEFT = frozenset({"worker", "program", "store", "guard", "target", "reached"})
_NULL = "the ceiling against itself"


@dataclass
class Grid:
    """A table as text: cells that begin with ``!`` are alarming; ``ends`` are the rows that end a group."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    ends: set[int] = field(default_factory=set)
    words: frozenset[str] = _LEFT
    """The columns that hold words; the others hold numbers."""

    def left(self, column: str) -> bool:
        return column in self.words

    def rich(self) -> Table:
        """For the terminal."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for name in self.columns:
            table.add_column(name, justify="left" if self.left(name) else "right", no_wrap=True)
        for number, row in enumerate(self.rows):
            cells = [Text(cell, style="red" if cell.startswith("!") else "") for cell in row]
            table.add_row(*cells, end_section=number in self.ends)
        return table

    def markdown(self) -> str:
        """For the documentation."""
        rule = ["---" if self.left(name) else "--:" for name in self.columns]
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, rule, *self.rows]]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


def grids(results: BenchResults) -> list[Grid]:
    """Everything that was measured, the targets first."""
    measured = in_order(results)
    found = [
        _targets(results.targets),
        _cells(measured),
        _growth(results.growth),
        *map(_scaling, results.scaling),
        _without_http(results.in_process),
        _starts(measured),
    ]
    return [grid for grid in found if grid.rows]


def in_order(results: BenchResults) -> list[Measured]:
    """The worker models in the order in which they were measured, in each the ceilings first."""
    measured = [*results.ceilings, *results.cells]
    workers = list(dict.fromkeys(each.worker for each in measured))
    return sorted(measured, key=lambda each: workers.index(each.worker))


def _cells(measured: Sequence[Measured]) -> Grid:
    columns = ["worker", "program", "clients", "sold/s", "ceiling/s", "of the ceiling", "refused/s", "p50 ms", "p99 ms",
               "p99.9 ms", "CPU µs", "ceiling's", "batch", "other"]  # fmt: skip
    ends = {n for n in range(len(measured) - 1) if measured[n].worker != measured[n + 1].worker}
    return Grid("One hot event, one ticket a purchase", columns, [_cell(each) for each in measured], ends)


def _cell(each: Measured) -> list[str]:
    return [
        shape_of(each),
        ("! " if each.problems else "") + program_of(each),
        f"{each.clients:,}",
        f"{each.sold_per_s:,.0f}",
        f"{each.ceiling_per_s:,.0f}",
        str(each.ratio),
        _number(each.refused_per_s),
        _ms(each.p50_ms),
        _ms(each.p99_ms),
        _ms(each.p999_ms),
        _number(each.cpu_us),
        _number(each.ceiling_cpu_us),
        _number(each.batch_mean, ".1f"),
        f"{sum(each.other_answers.values()) + sum(each.errors.values()):,}",
    ]


def shape_of(each: Measured) -> str:
    """``gthread 2 × 16``"""
    threads = f" {each.processes} × {each.threads}" if each.threads > 1 else f" × {each.processes}"
    return each.worker + threads


def program_of(each: Measured) -> str:
    """The program's name; the null pair says what it is."""
    return _NULL if each.store == "stubbed" else each.program + ("" if each.durable else " (not durable)")


def _targets(targets: Sequence[SpeedTarget]) -> Grid:
    rows = [[each.worker, each.what, f"{each.wanted:.2f}", str(each.found), each.verdict] for each in targets]
    title = f"The targets: {' + '.join(REFERENCE)} with the largest batch; reached if the whole interval is"
    return Grid(title, ["worker", "target", "wanted", "found", "reached"], rows)


def _growth(growth: Sequence[Grown]) -> Grid:
    columns = ["store", "orders", "sold/s", "fresh event/s", "of a fresh event", "MB a worker", "opened again, s",
               "MB then"]  # fmt: skip
    rows = [
        [
            row.store,
            f"{row.orders:,}",
            _number(row.sold_per_s),
            _number(row.fresh_per_s),
            str(row.ratio),
            _number(row.memory_mb),
            _number(row.reopened_s, ".2f", none=""),
            _number(row.reopened_mb, none=""),
        ]
        for row in growth
    ]
    return Grid("An event that grows, beside a fresh one", columns, rows)


def _scaling(scaling: Scaling) -> Grid:
    rows = [
        [
            str(row.workers),
            _number(row.sold_per_s),
            _number(row.limit_per_s),
            _number(None if scaling.law is None else scaling.law.per_s(row.workers)),
            _number(row.held_ms, ".2f"),
        ]
        for row in scaling.rows
    ]
    return Grid(law_in_words(scaling), ["workers", "sold/s", "1/hold", "the law", "hold ms"], rows)


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
        [row.store, row.guard, str(row.batch), str(row.threads), _number(row.sold_per_s), _number(row.decisions_per_s)]
        for row in rows
    ]
    return Grid("Without HTTP, in one process", columns, shown)


def _starts(measured: Sequence[Measured]) -> Grid:
    first = {(each.worker, each.program): each for each in reversed(measured)}
    rows = [
        [shape_of(each), each.program, f"{each.start_s:.2f}", _number(each.memory_mb)]
        for each in measured
        if first[each.worker, each.program] is each
    ]
    return Grid("Start-up and memory", ["worker", "program", "seconds until ready", "MB, largest worker"], rows)


def _number(value: float | None, digits: str = ",.0f", *, none: str = "–") -> str:
    return none if value is None else format(value, digits)


def _ms(value: float | None) -> str:
    return _number(value, ",.2f" if value is not None and value < 10 else ",.0f")


# -- notes ------------------------------------------------------------------------------------------------------------


def notes(results: BenchResults) -> list[str]:
    """Notes for the reader of the tables; the alarming stand first and begin with ``!``."""
    measured = [*results.cells, *results.ceilings]
    found = [f"! {problem}" for problem in results.problems]
    found += [
        f"! the load generator was the bottleneck: {shape_of(each)}, {each.program}, {each.clients} clients"
        for each in measured
        if each.generator_saturated
    ]
    found += [f"! not measured: {line}" for line in not_available([each for each in results.missing if each.failed])]
    found += [f"not offered: {line}" for line in not_available([each for each in results.missing if not each.failed])]
    generator = results.generator
    if measured and generator is not None:
        busiest = max(measured, key=lambda each: each.generator_cpu)
        fastest = max(each.sold_per_s for each in measured)
        found.append(
            f"The load generator does {generator.requests_per_s:,.0f} requests a second against a server that does "
            f"nothing ({generator.cpu_us:.0f} µs of CPU each), {generator.requests_per_s / fastest:.0f} times the "
            f"fastest rate here; it used at most {busiest.generator_cpu:.0%} of one core ({shape_of(busiest)}, "
            f"{program_of(busiest)})."
        )
    nulls = [each for each in results.ceilings if each.store == "stubbed"]
    if nulls:
        found.append(
            f"Medians of {len(nulls[0].ratios)} pairs in ABBA order, 95 % bootstrap intervals. The ceiling is the same "
            "application with the decision stubbed. Against itself it should be 1: what it is instead is what a ratio "
            "is worth here."
        )
    return found


def machine_in_words(results: BenchResults) -> str:
    """One line for the machine."""
    return f"{results.machine.in_words.removesuffix('.')}; load average before the run {results.load_before:.2f}."
