"""A lesson's findings in the terminal, in its language: the claim, the tables, the figures, the observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from workers.lessons.common.figures import BarChart, Figure, Graph, Span, Table, Timeline, as_text, bar_text
from workers.lessons.common.lesson import Lesson, LessonResult
from workers.lessons.common.translation import Translate, shared_words

# A character of its own for each style: the colour is left out where the output is a file, or a reader cannot see it.
_CHARACTERS = {
    "plain": ("▒", "blue"),
    "faint": ("▁", "blue"),
    "wait": ("░", "dim"),
    "good": ("█", "green"),
    "bad": ("▓", "red"),
}
_MOST_LANES = 24


def show(console: Console, lesson: Lesson, findings: LessonResult) -> None:
    """Print everything that a run found."""
    words = shared_words(lesson.language)
    console.print(Panel(Text(lesson.claim, style="bold"), title=lesson.title, title_align="left"))
    console.print(Text.assemble((f"{words['wrong']}  ", "red"), lesson.wrong))
    console.print(Text.assemble((f"{words['right']}  ", "green"), lesson.right), "")
    for table in findings.tables:
        console.print(_table(table, lesson.translate), "")
    for figure in findings.figures:
        console.print(_figure(figure, min(console.width, 110), lesson), "")
    for sentence in findings.observations:
        console.print(Text.assemble("· ", sentence))
    console.print(Text.assemble("\n", (f"{words['service']}  ", "bold"), lesson.service))
    verdict = (words["held"], "bold green") if findings.holds else (words["failed"], "bold red")
    console.print(Text.assemble(verdict))


def titled_table(title: str, *columns: str) -> RichTable:
    """An empty table with a bold title on the left. Long texts without spaces, as in Chinese, are folded, never cut."""
    return RichTable(
        *(Column(each, overflow="fold") for each in columns), title=title, title_justify="left", title_style="bold"
    )


def _table(table: Table, translate: Translate) -> RichTable:
    shown = titled_table(translate(table.title))
    for number, (column, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        shown.add_column(translate(column), justify="right" if numeric and number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(translate(as_text(value)) for value in row))
    return shown


def _figure(figure: Figure, width: int, lesson: Lesson) -> RenderableType:
    if isinstance(figure, Timeline):
        return _timeline(figure, width, lesson)
    return _graph(figure, lesson.translate) if isinstance(figure, Graph) else _bars(figure, width, lesson.translate)


def _timeline(figure: Timeline, width: int, lesson: Lesson) -> Group:
    translate = lesson.translate
    names = max((cell_len(translate(name)) for name in figure.lanes), default=0)
    room = max(20, width - names - 4)
    lines: list[Text] = [Text(translate(figure.title), style="bold")]
    for name, spans in list(figure.lanes.items())[:_MOST_LANES]:
        shown = translate(name)
        lines.append(Text.assemble(" " * (names - cell_len(shown)), f"{shown}  ", _lane(spans, figure.end_s, room)))
    if len(figure.lanes) > _MOST_LANES:
        more = shared_words(lesson.language)["more"].format(len(figure.lanes) - _MOST_LANES)
        lines.append(Text(f"{'':>{names}}  {more}", style="dim"))
    scale = f"0{f'{figure.end_s * 1e3:,.0f} ms':>{room - 1}}"
    lines.append(Text(f"{'':>{names}}  {scale}", style="dim"))
    return Group(*lines, *_legend({style: translate(label) for style, label in figure.legend.items()}, width))


def _legend(labels: Mapping[str, str], width: int) -> list[Text]:
    """The character of each style and its meaning; a pair is never broken into two lines."""
    lines: list[Text] = []
    for style, label in labels.items():
        entry = Text.assemble("  ", _CHARACTERS[style], f" {label}")
        if lines and lines[-1].cell_len + entry.cell_len <= width:
            lines[-1].append_text(entry)
        else:
            lines.append(entry)
    return lines


def _lane(spans: Sequence[Span], end_s: float, room: int) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    for span in spans:
        first = min(room - 1, int(span.start_s / end_s * room))
        last = max(first + 1, min(room, round(span.end_s / end_s * room)))
        for cell in range(first, last):
            cells[cell] = _CHARACTERS[span.style]
    return Text.assemble(*cells)


def _graph(figure: Graph, translate: Translate) -> Group:
    lines = [Text(translate(figure.title), style="bold")]
    for arrow in figure.arrows:
        dash, colour = ("╌╌", "red") if arrow.style == "bad" else ("──", "blue")
        line = (f"{dash} {translate(arrow.label)} {dash[:1]}▶" if arrow.label else f"{dash}▶", colour)
        lines.append(Text.assemble(f"{translate(arrow.start)}  ", line, f"  {translate(arrow.end)}"))
    return Group(*lines)


def _bars(figure: BarChart, width: int, translate: Translate) -> Group:
    rows = RichTable.grid(padding=(0, 2, 0, 0))
    rows.width = width
    rows.add_column(justify="right")
    rows.add_column()
    rows.add_column(justify="right")
    for name, bars in figure.series.items():
        for group, value in bars:
            label = translate(group) if len(figure.series) == 1 else f"{translate(name)}  {translate(group)}"
            rows.add_row(label, Bar(1, 0, figure.share(value), color="blue"), bar_text(value))
    return Group(Text(f"{translate(figure.title)} ({translate(figure.value_label)})", style="bold"), rows)
