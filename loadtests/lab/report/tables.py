"""The results as tables for the terminal: one row a cell, or the matrix of what each guard excludes."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from loadtests.lab.experiment.expectation import Met
from loadtests.lab.experiment.runner import Result
from loadtests.lab.report.sentences import by_luck

_Row = dict[str, Text | str]
_Group = Callable[[Result], _Row]

_COLOURS = {"valid": "green", "invalid": "red", "unknown": "yellow"}


def cell_tables(results: list[Result], console: Console) -> list[Table]:
    """One table, or two where the terminal is too narrow for it: what happened, and how fast."""
    whole = _table(results, [_identity, _outcome, _speed])
    if Measurement.get(console, console.options.update(max_width=1000), whole).maximum <= console.width:
        return [whole]
    return [_table(results, [_identity, _outcome]), _table(results, [_identity, _speed])]


def _table(results: list[Result], groups: list[_Group]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    rows = [{name: value for group in groups for name, value in group(result).items()} for result in results]
    for name in rows[0]:
        left = name in {"worker", "guard", "verdict", "wrong"}
        table.add_column(name, justify="left" if left else "right")
    for number, row in enumerate(rows):
        last_of_worker = number + 1 == len(rows) or rows[number + 1]["worker"] != row["worker"]
        table.add_row(*row.values(), end_section=last_of_worker)
    return table


def _identity(result: Result) -> _Row:
    return {"worker": result.experiment.service.spelled, "guard": result.experiment.service.guard}


def _outcome(result: Result) -> _Row:
    verdict, workload = result.verdict, result.experiment.workload
    colour = _COLOURS[verdict.verdict]
    return {
        "capacity": f"{result.rounds} × {workload.capacity:,}" if result.rounds > 1 else f"{workload.capacity:,}",
        "acknowledged": f"{verdict.acknowledged:,}",
        "oversold": _alarming(verdict.oversold),
        "lost": _alarming(verdict.lost),
        "verdict": Text(verdict.verdict, style=colour),
        "wrong": f"{result.rounds_wrong} of {result.rounds}" + ("" if result.met is Met.YES else " !"),
    }


def _speed(result: Result) -> _Row:
    measures = result.measures
    return {
        "sold/s": f"{measures.sold_per_s:,.0f}",
        "refused/s": f"{measures.refused_per_s:,.0f}",
        "503s": f"{measures.unavailable:,}",
        "p50 ms": _milliseconds(measures.p50_ms),
        "p99 ms": _milliseconds(measures.p99_ms),
        "think ms": f"{result.experiment.service.think_ms:g}",
    }


def matrix_table(results: list[Result]) -> Table:
    """What each guard excludes: a row for each worker model, a column for each guard, tickets acknowledged in each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("worker", no_wrap=True)
    columns = list(dict.fromkeys(guard_and_think(result) for result in results))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for worker in dict.fromkeys(result.experiment.service.spelled for result in results):
        cells = {guard_and_think(each): each for each in results if each.experiment.service.spelled == worker}
        table.add_row(worker, *(_acknowledged(cells[column]) if column in cells else "" for column in columns))
    return table


def guard_and_think(result: Result) -> str:
    """The heading of a matrix's column."""
    service = result.experiment.service
    return f"{service.guard}, {service.think_ms:g} ms"


def _acknowledged(result: Result) -> Text:
    colour = "red" if result.rounds_wrong else _COLOURS[result.verdict.verdict]
    mark = "*" if by_luck(result) else "" if result.met is Met.YES else "!"
    return Text(f"{result.verdict.acknowledged:,}{mark}", style=colour)


def _alarming(count: int | None) -> Text:
    if count is None:
        return Text("unknown", style="yellow")
    return Text(f"{count:,}", style="bold red" if count else "")


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
