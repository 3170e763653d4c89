"""The results as tables and notes, for the terminal, the report and the documentation alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from loadtests.lab.bench.paired import CellFigures, MeasuredCell
from loadtests.lab.bench.plain import SHAPES, marks, spelled
from loadtests.lab.bench.results import BenchResults, not_available
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.report.tables import Grid
from service.catalogue import REFERENCE

_LEFT = frozenset({"worker", "program", "store", "guard", "target", "reached", "beside"})
_NULL = "the ceiling against itself"


Column = Callable[[Any], str]


def grid_of(
    title: str,
    items: Sequence[Any],
    columns: Mapping[str, Column],
    words: frozenset[str] = _LEFT,
    group: Column = lambda _: "",
) -> Grid:
    """A row for each item, and in it a text for each column; a group ends where the next item is of another one."""
    groups = list(map(group, items))
    ends = {number for number, (mine, following) in enumerate(pairwise(groups)) if mine != following}
    rows = [[show(each) for show in columns.values()] for each in items]
    return Grid(title, list(columns), rows, ends, words)


def number(field: str, digits: str = ",.0f", none: str = "–", *, exact: Callable[[Any], bool] | None = None) -> Column:
    """A column for a number of that name, which may be None; ``exact`` ones have two digits behind the point."""

    def show(each: Any) -> str:
        value = getattr(each, field)
        return none if value is None else format(value, ",.2f" if exact is not None and exact(value) else digits)

    return show


def _ms(field: str) -> Column:
    return number(field, exact=lambda value: value < 10)


def shape_of(each: CellFigures) -> str:
    """``gthread 2 × 16``"""
    threads = f" {each.processes} × {each.threads}" if each.threads > 1 else f" × {each.processes}"
    return each.worker + threads


def program_of(each: MeasuredCell) -> str:
    """The program's name; the null pair says what it is."""
    return _NULL if each.store == "stubbed" else each.program + ("" if each.durable else " (not durable)")


_CELLS: dict[str, Column] = {
    "worker": shape_of,
    "program": lambda each: ("! " if each.problems else "") + program_of(each),
    "clients": number("clients"),
    "sold/s": number("sold_per_s"),
    "ceiling/s": number("ceiling_per_s"),
    "of the ceiling": lambda each: str(each.ratio),
    "refused/s": number("refused_per_s"),
    "p50 ms": _ms("p50_ms"),
    "p99 ms": _ms("p99_ms"),
    "p99.9 ms": _ms("p999_ms"),
    "CPU µs": number("cpu_us"),
    "ceiling's": number("ceiling_cpu_us"),
    "batch": number("batch_mean", ".1f"),
    "other": lambda each: f"{sum(each.other_answers.values()) + sum(each.errors.values()):,}",
}
_TARGETS: dict[str, Column] = {
    "worker": lambda each: each.worker,
    "target": lambda each: each.what,
    "wanted": number("wanted", ".2f"),
    "found": lambda each: str(each.found),
    "reached": lambda each: each.verdict,
}
_BESIDE_PLAIN: dict[str, Column] = {
    "worker": shape_of,
    "store": lambda each: ("! " if each.problems else "") + each.store,
    "beside": lambda each: "a bare Flask endpoint" if each.plain == "bare" else f"`{each.plain}`",
    "clients": number("clients"),
    "× sold": lambda each: str(each.ratio),
    "null pair": lambda each: str(each.null or "–"),
    "CPU µs": number("cpu_us"),
    "plain's": number("plain_cpu_us"),
    "× CPU": lambda each: "–" if each.of_cpu is None else f"{each.of_cpu.median:.2f}",
    "p99 ms": _ms("p99_ms"),
    "plain p99": _ms("plain_p99_ms"),
    "mark": lambda each: f"{each.target.wanted:g}" if each.target else "–",
    "reached": lambda each: each.target.verdict_in_words if each.target else "–",
    "other": lambda each: f"{sum(each.other_answers.values()):,} / {sum(each.plain_other_answers.values()):,}",
}
_GROWTH: dict[str, Column] = {
    "worker": lambda each: f"{each.worker} × {each.processes}",
    "store": lambda each: each.store,
    "orders": number("orders"),
    "sold/s": number("sold_per_s"),
    "fresh event/s": number("fresh_per_s"),
    "of a fresh event": lambda each: str(each.ratio),
    "MB a worker": number("memory_mb"),
    "opened again, s": number("reopened_s", ".2f", none=""),
    "MB then": number("reopened_mb", none=""),
}
_WITHOUT_HTTP: dict[str, Column] = {
    "store": lambda each: each.store,
    "guard": lambda each: each.guard,
    "batch": number("batch", ""),
    "threads": number("threads", ""),
    "sold/s": number("sold_per_s"),
    "the rules alone/s": number("decisions_per_s"),
}
_STARTS: dict[str, Column] = {
    "worker": shape_of,
    "program": lambda each: each.program,
    "seconds until ready": number("start_s", ".2f"),
    "MB, largest worker": number("memory_mb"),
}


def grids(results: BenchResults) -> list[Grid]:
    """Everything that was measured, the targets first."""
    measured = in_order(results)
    targets = f"The targets: {' + '.join(REFERENCE)} with the largest batch; reached if the whole interval is"
    starts = list({(each.worker, each.program): each for each in reversed(measured)}.values())[::-1]
    found = [
        marks_grid(results),
        grid_of(targets, [] if results.beside_plain else results.targets, _TARGETS),
        grid_of(
            "The office beside plain programs", results.beside_plain, _BESIDE_PLAIN, group=lambda each: each.program
        ),
        grid_of("One hot event, one ticket a purchase", measured, _CELLS, group=lambda each: each.worker),
        grid_of("An event that grows, beside a fresh one", results.growth, _GROWTH),
        *map(_scaling, results.scaling),
        grid_of("Without HTTP, in one process", results.in_process, _WITHOUT_HTTP),
        grid_of("Start-up and memory", starts, _STARTS),
    ]
    return [grid for grid in found if grid.rows]


def marks_grid(results: BenchResults) -> Grid:
    """A row for each store and a column for each worker model; without a row where nothing was measured."""
    stores = {each.store for each in results.beside_plain}
    rows: dict[str, dict[str, str]] = {}
    for mark in marks(results.beside_plain, results.growth):
        if mark.store in stores:
            found = mark.found
            said = "–" if found is None else f"{found.found}: {found.verdict_in_words}"
            rows.setdefault(mark.what, {})[mark.shape] = f"{said} ({mark.wanted:g})"
    columns = [spelled(*shape) for shape in SHAPES]
    cells = [[what, *(row.get(column, "") for column in columns)] for what, row in rows.items()]
    title = "Sold a second, as a multiple; is the mark (in brackets) reached?"
    return Grid(title, ["store", *columns], cells, words=_LEFT)


def shortfalls(results: BenchResults) -> list[str]:
    """A sentence for the marks that are missed, and one for those that lie within an interval."""
    found = [(mark, mark.found.verdict) for mark in marks(results.beside_plain, results.growth) if mark.found]
    said = []
    for verdict, words in (("no", "Short of the mark"), ("perhaps", "Not decided, for the interval contains the mark")):
        names = [f"{mark.what}, {mark.shape}" for mark, its in found if its == verdict]
        if names:
            said.append(f"{words}: {'; '.join(names)}.")
    return said or ["Nothing falls short." for _ in found[:1]]


def in_order(results: BenchResults) -> list[MeasuredCell]:
    """The worker models in the order in which they were measured, in each the ceilings first."""
    measured = [*results.ceilings, *results.cells]
    workers = list(dict.fromkeys(each.worker for each in measured))
    return sorted(measured, key=lambda each: workers.index(each.worker))


def _scaling(scaling: Scaling) -> Grid:
    columns: dict[str, Column] = {
        "workers": number("workers", ""),
        "sold/s": number("sold_per_s"),
        "1/hold": number("limit_per_s"),
        "the law": lambda each: "–" if scaling.law is None else f"{scaling.law.per_s(each.workers):,.0f}",
        "hold ms": number("held_ms", ".2f"),
    }
    return grid_of(law_in_words(scaling), scaling.rows, columns)


def law_in_words(scaling: Scaling) -> str:
    """The fitted law and what it says about more workers."""
    name = f"{scaling.store} + {scaling.guard}, {scaling.worker}, {scaling.clients} clients"
    if scaling.law is None:
        return f"{name}: no law of this form fits"
    law = scaling.law
    best = "more are never worse" if scaling.best_workers is None else f"most with {scaling.best_workers:.1f}"
    shown = f"{law.alone_per_s:,.0f} n / (1 + {law.contention:.3f} (n − 1) + {law.coherency:.4f} n (n − 1))"
    return f"{name}: X(n) = {shown}; {best}"


# -- notes ------------------------------------------------------------------------------------------------------------


def notes(results: BenchResults) -> list[str]:
    """Notes for the reader of the tables; the alarming stand first and begin with ``!``."""
    measured: list[CellFigures] = [*results.cells, *results.ceilings, *results.beside_plain]
    found = [f"! {problem}" for problem in results.problems]
    found += [
        f"! the load generator was the bottleneck: {shape_of(each)}, {each.program}, {each.clients} clients"
        for each in measured
        if each.generator_saturated
    ]
    found += [f"! not measured: {line}" for line in not_available([each for each in results.missing if each.failed])]
    found += [f"not offered: {line}" for line in not_available([each for each in results.missing if not each.failed])]
    found += shortfalls(results)
    generator = results.generator
    if measured and generator is not None:
        busiest = max(measured, key=lambda each: each.generator_cpu)
        fastest = max([each.sold_per_s for each in measured] + [each.plain_per_s for each in results.beside_plain])
        found.append(
            f"The load generator does {generator.requests_per_s:,.0f} requests a second against a server that does "
            f"nothing ({generator.cpu_us:.0f} µs of CPU each), {generator.requests_per_s / fastest:.0f} times the "
            f"fastest rate here; it used at most {busiest.generator_cpu:.0%} of one core ({shape_of(busiest)}, "
            f"{busiest.program})."
        )
    if results.beside_plain:
        found.append(
            f"Medians of {len(results.beside_plain[0].ratios)} pairs in ABBA order, 95 % bootstrap intervals. The null "
            "pair is the plain program against itself, in neighbouring windows of the same run. Under gthread, where "
            "its interval is not within 5 % of 1, the workers' CPU time for a sale is judged in the place of sales."
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
