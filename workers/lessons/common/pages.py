"""A lesson's findings as HTML pages, and as the measured part of its pages in ``docs/lessons``."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from loadtests.lab.report.markdown import has_section, replace_section
from loadtests.lab.report.pages import template
from workers.lessons.common.figures import Table, as_text
from workers.lessons.common.lesson import Lesson, LessonResult
from workers.lessons.common.sources import excerpt, program
from workers.lessons.common.story import BEGIN, END, story
from workers.lessons.common.svg import svg
from workers.lessons.common.translation import LANGUAGES, Translate, shared_words, translator, unchanged


def page(lesson: Lesson, findings: LessonResult, answers: str) -> str:
    """The lesson as one HTML page that opens offline, in its language: story, code, figures, findings, questions.

    ``answers`` is the name of the file that ``answers_page`` is written to.
    """
    before, after = story(lesson.story(lesson.language))
    return template("page.html", Path(__file__).parent).render(
        **_shown(lesson, findings),
        before=before,
        after=after,
        code=[excerpt(place) for place in lesson.code],
        program=program(lesson.name, lesson.code),
        measured_by=_measured_by(findings.command, lesson.language),
        translate=lesson.translate,
        as_text=as_text,
        svg=svg,
        answers=answers,
    )


def answers_page(lesson: Lesson, findings: LessonResult, page: str) -> str:
    """The answers to the lesson's questions as an HTML page of its own; ``page`` is the file name of the lesson's."""
    return template("answers.html", Path(__file__).parent).render(**_shown(lesson, findings), page=page)


def write_pages(path: Path, lesson: Lesson, findings: LessonResult) -> list[Path]:
    """Writes the page to ``path`` and the answers beside it (``mutex-answers.html``); returns the written files."""
    answers = path.with_name(f"{path.stem}-answers{path.suffix}")
    path.write_text(page(lesson, findings, answers.name), encoding="utf-8")
    answers.write_text(answers_page(lesson, findings, path.name), encoding="utf-8")
    return [path, answers]


def _shown(lesson: Lesson, findings: LessonResult) -> dict[str, object]:
    questions = [(each.ask, each.answer) for each in lesson.questions]
    return {
        "lesson": lesson,
        "findings": findings,
        "words": shared_words(lesson.language),
        "lang": shared_words(lesson.language)["language"],
        "questions": [[text.format_map(findings.numbers) for text in each] for each in questions],
    }


def _measured_by(command: str, language: str) -> str:
    """The command, the machine and the Python that measured."""
    words = shared_words(language)
    cores = words["cores"].format(os.cpu_count())
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cores}"
    return words["measured_by"].format(command=command, machine=machine)


def refresh_docs(folder: Path, lesson: Lesson, findings: LessonResult) -> list[Path]:
    """Write the measured tables and figures into the lesson's pages (``en/``, ``zh/``); returns the written files.

    Only the part between the two marks of a page is replaced. Raises ``ValueError`` for a page without marks; that page
    is not written to.
    """
    changed = []
    for language in LANGUAGES:
        translate = translator(lesson.chinese()) if language == "zh" else unchanged
        pictures = []
        for number, figure in enumerate(findings.figures, 1):
            picture = folder / "pictures" / f"{lesson.name}-{number}.{language}.svg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text(svg(figure, translate), encoding="utf-8")
            pictures.append(f"![{translate(figure.title)}](../pictures/{picture.name})")
            changed.append(picture)
        tables = [_markdown_table(table, translate) for table in findings.tables]
        path = folder / language / f"{lesson.name}.md"
        if not has_section(path, BEGIN, END):
            raise ValueError(f"{path} must have the marks {BEGIN} and {END}; nothing was written to it")
        replace_section(
            path,
            BEGIN,
            END,
            "\n\n".join([*tables, *pictures, _measured_by(f"lastseat lesson {lesson.name}", language)]),
        )
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
