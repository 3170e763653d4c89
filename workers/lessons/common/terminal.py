"""A lesson's findings in the terminal: the claim, the tables, the figures in characters, the observations."""

from __future__ import annotations

from collections.abc import Sequence

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from workers.lessons.common.figures import BarChart, Figure, Graph, Span, Table, Timeline, as_text, bar_text
from workers.lessons.common.lesson import Lesson, LessonResult

_CHARACTERS = {
    "plain": ("█", "blue"),
    "faint": ("▒", "blue"),
    "wait": ("░", "dim"),
    "good": ("█", "green"),
    "bad": ("█", "red"),
}
_MOST_LANES = 24


def show(console: Console, lesson: Lesson, findings: LessonResult) -> None:
    """Print everything that a run found."""
    console.print(Panel(Text(lesson.claim, style="bold"), title=lesson.title, title_align="left"))
    console.print(Text.assemble(("wrong  ", "red"), lesson.wrong))
    console.print(Text.assemble(("right  ", "green"), lesson.right), "")
    for table in findings.tables:
        console.print(_table(table), "")
    for figure in findings.figures:
        console.print(_figure(figure, min(console.width, 110)), "")
    for sentence in findings.observations:
        console.print(Text.assemble("· ", sentence))
    console.print(Text.assemble("\n", ("In the service  ", "bold"), lesson.service))
    verdict = ("the claim held here", "bold green") if findings.holds else ("the claim did NOT hold here", "bold red")
    console.print(Text.assemble(verdict))


def titled_table(title: str, *columns: str) -> RichTable:
    """An empty table with a bold title on the left."""
    return RichTable(*columns, title=title, title_justify="left", title_style="bold")


def _table(table: Table) -> RichTable:
    shown = titled_table(table.title)
    for number, (column, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        shown.add_column(column, justify="right" if numeric and number else "left")
    for row in table.rows:
        shown.add_row(*(as_text(value) for value in row))
    return shown


def _figure(figure: Figure, width: int) -> RenderableType:
    if isinstance(figure, Timeline):
        return _timeline(figure, width)
    return _graph(figure) if isinstance(figure, Graph) else _bars(figure, width)


def _timeline(figure: Timeline, width: int) -> Group:
    names = max((len(name) for name in figure.lanes), default=0)
    room = max(20, width - names - 4)
    lines: list[Text] = [Text(figure.title, style="bold")]
    for name, spans in list(figure.lanes.items())[:_MOST_LANES]:
        lines.append(Text.assemble(f"{name:>{names}}  ", _lane(spans, figure.end_s, room)))
    if len(figure.lanes) > _MOST_LANES:
        lines.append(Text(f"{'':>{names}}  … and {len(figure.lanes) - _MOST_LANES} more", style="dim"))
    scale = f"0{f'{figure.end_s * 1e3:,.0f} ms':>{room - 1}}"
    lines.append(Text(f"{'':>{names}}  {scale}", style="dim"))
    if figure.legend:
        legend = [part for style, label in figure.legend.items() for part in (_CHARACTERS[style], f" {label}   ")]
        lines.append(Text.assemble(f"{'':>{names}}  ", *legend))
    return Group(*lines)


def _lane(spans: Sequence[Span], end_s: float, room: int) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    for span in spans:
        first = min(room - 1, int(span.start_s / end_s * room))
        last = max(first + 1, min(room, round(span.end_s / end_s * room)))
        for cell in range(first, last):
            cells[cell] = _CHARACTERS[span.style]
    return Text.assemble(*cells)


def _graph(figure: Graph) -> Group:
    lines = [Text(figure.title, style="bold")]
    for arrow in figure.arrows:
        line = (f"── {arrow.label} ─▶" if arrow.label else "──▶", "red" if arrow.style == "bad" else "blue")
        lines.append(Text.assemble(f"{arrow.start}  ", line, f"  {arrow.end}"))
    return Group(*lines)


def _bars(figure: BarChart, width: int) -> Group:
    rows = RichTable.grid(padding=(0, 2, 0, 0))
    rows.width = width
    rows.add_column(justify="right")
    rows.add_column()
    rows.add_column(justify="right")
    for name, bars in figure.series.items():
        for group, value in bars:
            label = group if len(figure.series) == 1 else f"{name}  {group}"
            rows.add_row(label, Bar(1, 0, figure.share(value), color="blue"), bar_text(value))
    return Group(Text(f"{figure.title} ({figure.value_label})", style="bold"), rows)
