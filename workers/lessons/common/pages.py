"""A lesson's findings as an HTML page, and as the measured part of its pages in ``docs/lessons``."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from loadtests.lab.report.markdown import has_section, replace_section
from loadtests.lab.report.pages import template
from workers.lessons.common.figures import Table, as_text
from workers.lessons.common.lesson import Lesson, LessonResult
from workers.lessons.common.svg import svg
from workers.lessons.common.translation import Translate, translator, unchanged

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def page(lesson: Lesson, findings: LessonResult) -> str:
    """One HTML page that opens offline: the verdict, the tables, the figures, the observations."""
    shown = template("page.html", Path(__file__).parent)
    return shown.render(lesson=lesson, findings=findings, machine=machine(), as_text=as_text, svg=svg)


def machine() -> str:
    """The machine and the Python that measured."""
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def refresh_docs(folder: Path, lesson: Lesson, findings: LessonResult) -> list[Path]:
    """Write the measured tables and figures into the lesson's pages (``en/``, ``zh/``); returns the written files.

    Only the part between the two marks of a page is replaced. Raises ``ValueError`` for a page without marks; that page
    is not written to.
    """
    changed = []
    for language in ("en", "zh"):
        translate = translator(lesson) if language == "zh" else unchanged
        pictures = []
        for number, figure in enumerate(findings.figures, 1):
            picture = folder / "pictures" / f"{lesson.name}-{number}.{language}.svg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text(svg(figure, translate), encoding="utf-8")
            pictures.append(f"![{translate(figure.title)}](../pictures/{picture.name})")
            changed.append(picture)
        tables = [_markdown_table(table, translate) for table in findings.tables]
        command = f"`lastseat lesson {lesson.name}`"
        source = f"Measured by {command} · {machine()}"
        if language == "zh":
            source = f"测量命令：{command} · {machine().replace(' cores', ' 核')}"
        path = folder / language / f"{lesson.name}.md"
        if not has_section(path, BEGIN, END):
            raise ValueError(f"{path} must have the marks {BEGIN} and {END}; nothing was written to it")
        replace_section(path, BEGIN, END, "\n\n".join([*tables, *pictures, source]))
        changed.append(path)
    return changed


def _markdown_table(table: Table, translate: Translate) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    alignment = ["---:" if numeric and number else "---" for number, numeric in enumerate(table.numeric)]
    rows = [line([translate(as_text(value)) for value in row]) for row in table.rows]
    return "\n".join(
        [f"**{translate(table.title)}**", "", line([*map(translate, table.columns)]), line(alignment), *rows]
    )
