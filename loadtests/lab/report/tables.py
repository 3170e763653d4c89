"""Tables: a grid of texts for terminal, page and Markdown, and the demo's tables for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from loadtests.lab.experiment.expectation import Met
from loadtests.lab.experiment.runner import Result
from loadtests.lab.report.text import by_luck, thousands

_Row = dict[str, Text | str]
_Group = Callable[[Result], _Row]

VERDICT_COLOURS = {"valid": "green", "invalid": "red", "unknown": "yellow"}


@dataclass
class Grid:
    """A table as text. ``ends`` are the rows that end a group; on a terminal a cell whose text begins with a key of
    ``styles`` has that style."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    ends: set[int] = field(default_factory=set)
    words: frozenset[str] = frozenset()
    """The columns that hold words; the others hold numbers."""
    styles: dict[str, str] = field(default_factory=lambda: {"!": "red"})

    def left(self, column: str) -> bool:
        return column in self.words

    def for_console(self, console: Console) -> list[Table]:
        """The table, or several where it is too wide: each begins with the words that say whose row it is."""
        named = len(list(itertools.takewhile(self.left, self.columns)))
        shown: list[list[int]] = [[]]
        for place in range(named, len(self.columns)):
            more = [*shown[-1], place]
            if shown[-1] and _width(self._table([*range(named), *more]), console) > console.width:
                shown.append([place])
            else:
                shown[-1] = more
        return [self._table([*range(named), *places]) for places in shown]

    def _table(self, places: Sequence[int]) -> Table:
        table = empty_table()
        for place in places:
            name = self.columns[place]
            table.add_column(name, justify="left" if self.left(name) else "right", no_wrap=True)
        for number, row in enumerate(self.rows):
            table.add_row(
                *(Text(row[place], self._style(row[place])) for place in places), end_section=number in self.ends
            )
        return table

    def _style(self, text: str) -> str:
        return next((style for begin, style in self.styles.items() if text.startswith(begin)), "")

    def markdown(self) -> str:
        """The table for the documentation."""
        rule = ["---" if self.left(name) else "--:" for name in self.columns]
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, rule, *self.rows]]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


def empty_table(*columns: str, title: str | None = None) -> Table:
    """A table in the style of all tables of the terminal."""
    return Table(*columns, title=title, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table of texts."""
    table = empty_table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    return table


def cell_tables(results: list[Result], console: Console) -> list[Table]:
    """One table, or two if the terminal is too narrow for it: the outcomes, and the speed."""
    whole = _table(results, [_identity, _outcome, _speed])
    if _width(whole, console) <= console.width:
        return [whole]
    return [_table(results, [_identity, _outcome]), _table(results, [_identity, _speed])]


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _table(results: list[Result], groups: list[_Group]) -> Table:
    table = empty_table()
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
    colour = VERDICT_COLOURS[verdict.verdict]
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
        "p50 ms": thousands(measures.p50_ms),
        "p99 ms": thousands(measures.p99_ms),
        "think ms": f"{result.experiment.service.think_ms:g}",
    }


def matrix_table(results: list[Result]) -> Table:
    """Tickets acknowledged, with a row for each worker model and a column for each guard and delay."""
    table = empty_table()
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
    colour = "red" if result.rounds_wrong else VERDICT_COLOURS[result.verdict.verdict]
    mark = "*" if by_luck(result) else "" if result.met is Met.YES else "!"
    return Text(f"{result.verdict.acknowledged:,}{mark}", style=colour)


def _alarming(count: int | None) -> Text:
    if count is None:
        return Text("unknown", style="yellow")
    return Text(f"{count:,}", style="bold red" if count else "")
