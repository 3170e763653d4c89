"""The results as tables for the terminal: one row a cell, or the matrix of what each guard excludes."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from loadtests.lab.experiment import Result
from loadtests.lab.promise import Kept

WIDE = 118
"""Columns of a terminal in which all of a cell's numbers fit into one row."""

_COLOURS = {"valid": "green", "invalid": "red", "unknown": "yellow"}


def cell_tables(results: list[Result], width: int) -> list[Table]:
    """One table, or two where the terminal is narrow: what happened, and how fast."""
    whole = [_identity, _outcome, _speed]
    groups = [whole] if width >= WIDE else [[_identity, _outcome], [_identity, _speed]]
    return [_table(results, columns) for columns in groups]


def _table(results: list[Result], groups: list[object]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    rows: list[dict[str, Text | str]] = []
    for result in results:
        row: dict[str, Text | str] = {}
        for group in groups:
            row |= group(result)  # type: ignore[operator]
        rows.append(row)
    for name in rows[0]:
        left = name in {"worker", "guard", "verdict", "rounds wrong"}
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for number, row in enumerate(rows):
        last_of_worker = number + 1 == len(rows) or rows[number + 1]["worker"] != row["worker"]
        table.add_row(*row.values(), end_section=last_of_worker)
    return table


def _identity(result: Result) -> dict[str, Text | str]:
    return {"worker": result.experiment.service.spelled, "guard": result.experiment.service.guard}


def _outcome(result: Result) -> dict[str, Text | str]:
    verdict, workload = result.verdict, result.experiment.workload
    colour = _COLOURS[verdict.verdict]
    return {
        "capacity": f"{result.rounds} × {workload.capacity:,}" if result.rounds > 1 else f"{workload.capacity:,}",
        "acknowledged": f"{verdict.acknowledged:,}",
        "oversold": _alarming(verdict.oversold),
        "lost": _alarming(verdict.lost),
        "verdict": Text(verdict.verdict, style=colour),
        "rounds wrong": f"{result.rounds_wrong} of {result.rounds}" + ("" if result.kept is Kept.YES else " !"),
    }


def _speed(result: Result) -> dict[str, Text | str]:
    measures = result.measures
    return {
        "sold/s": f"{measures.sold_per_s:,.0f}",
        "refused/s": f"{measures.refused_per_s:,.0f}",
        "503s": f"{measures.unavailable:,}",
        "p50": _milliseconds(measures.p50_ms),
        "p99": _milliseconds(measures.p99_ms),
        "think": f"{result.experiment.service.think_ms:g} ms",
    }


def matrix_table(results: list[Result]) -> Table:
    """What each guard excludes: a row for each worker model, a column for each guard, tickets acknowledged in each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2))
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
    return Text(f"{result.verdict.acknowledged:,}" + ("" if result.kept is Kept.YES else " !"), style=colour)


def _alarming(count: int | None) -> Text:
    if count is None:
        return Text("unknown", style="yellow")
    return Text(f"{count:,}", style="bold red" if count else "")


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"
