"""A lesson's findings in the terminal: the claim, the tables, a timeline in characters, what to see."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from workers.lessons.drawing import amount, bar_share
from workers.lessons.form import Figure, Findings, Graph, Lesson, Plot, Span, Table, Timeline

_MARKS = {
    "plain": ("█", "blue"),
    "faint": ("▒", "blue"),
    "wait": ("░", "dim"),
    "good": ("█", "green"),
    "bad": ("█", "red"),
}
_MOST_LANES = 24


def show(console: Console, lesson: Lesson, findings: Findings) -> None:
    """Print everything that a run found."""
    console.print(Panel(Text(lesson.claim, style="bold"), title=lesson.title, title_align="left"))
    console.print(Text.assemble(("wrong  ", "red"), lesson.wrong))
    console.print(Text.assemble(("right  ", "green"), lesson.right), "")
    for table in findings.tables:
        console.print(_table(table), "")
    for figure in findings.figures:
        console.print(_figure(figure, console.width), "")
    for sentence in findings.see:
        console.print(Text.assemble("· ", sentence))
    console.print(Text.assemble("\n", ("In the service  ", "bold"), lesson.service))
    verdict = ("the claim held here", "bold green") if findings.holds else ("the claim did NOT hold here", "bold red")
    console.print(Text.assemble(verdict))


def _table(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left", title_style="bold")
    for number, column in enumerate(table.columns):
        numeric = all(isinstance(row[number], int | float) for row in table.rows)
        shown.add_column(column, justify="right" if numeric and number else "left")
    for row in table.rows:
        shown.add_row(*(written(value) for value in row))
    return shown


def written(value: object) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figure(figure: Figure, width: int) -> RenderableType:
    if isinstance(figure, Timeline):
        return _timeline(figure, width)
    return _graph(figure) if isinstance(figure, Graph) else _plot(figure, width)


def _timeline(figure: Timeline, width: int) -> Group:
    end = max((span.end_s for spans in figure.lanes.values() for span in spans), default=1.0) or 1.0
    names = max((len(name) for name in figure.lanes), default=0)
    room = max(20, min(width, 110) - names - 4)
    lines: list[Text] = [Text(figure.title, style="bold")]
    for name, spans in list(figure.lanes.items())[:_MOST_LANES]:
        lines.append(Text.assemble(f"{name:>{names}}  ", _lane(spans, end, room)))
    if len(figure.lanes) > _MOST_LANES:
        lines.append(Text(f"{'':>{names}}  … and {len(figure.lanes) - _MOST_LANES} more", style="dim"))
    scale = f"0{f'{end * 1e3:,.0f} ms':>{room - 1}}"
    lines.append(Text(f"{'':>{names}}  {scale}", style="dim"))
    if figure.legend:
        keys = [part for mood, says in figure.legend.items() for part in (_MARKS[mood], f" {says}   ")]
        lines.append(Text.assemble(f"{'':>{names}}  ", *keys))
    return Group(*lines)


def _lane(spans: Sequence[Span], end: float, room: int) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    for span in spans:
        first = min(room - 1, int(span.start_s / end * room))
        last = max(first + 1, min(room, round(span.end_s / end * room)))
        for cell in range(first, last):
            cells[cell] = _MARKS[span.mood]
    return Text.assemble(*cells)


def _graph(figure: Graph) -> Group:
    lines = [Text(figure.title, style="bold")]
    for arrow in figure.arrows:
        style = "red" if arrow.mood == "bad" else "blue"
        lines.append(
            Text.assemble(f"{arrow.start}  ", (f"── {arrow.says} ─▶" if arrow.says else "──▶", style), f"  {arrow.end}")
        )
    return Group(*lines)


def _plot(figure: Plot, width: int) -> Group:
    """Every point as a bar: a terminal shows amounts better than curves."""
    rows = [(name, x, y) for name, points in figure.series.items() for x, y in points]
    top = max((y for _, _, y in rows), default=1.0) or 1.0
    lowest = min((y for _, _, y in rows if y > 0), default=1.0)
    alone = len(figure.series) == 1
    labels = [("" if alone else f"{name}  ") + (x if isinstance(x, str) else f"{x:g}") for name, x, _ in rows]
    names = max((len(label) for label in labels), default=0)
    room = max(10, min(width, 110) - names - 14)
    lines = [Text(f"{figure.title} ({figure.y_label})", style="bold")]
    for label, (_, _, y) in zip(labels, rows, strict=True):
        bar = "█" * max(1, round(bar_share(y, lowest, top, figure.log) * room))
        lines.append(Text.assemble(f"{label:>{names}}  ", (bar, "blue"), f" {amount(y)}"))
    return Group(*lines)
