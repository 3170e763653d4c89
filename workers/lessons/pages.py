"""A lesson's findings as a page of their own, and as the measured part of its pages in ``docs/lessons``."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from workers.lessons.drawing import svg
from workers.lessons.form import Findings, Lesson, Table
from workers.lessons.terminal import written

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HAN = "\u4e00-\u9fff"
_COMMON_CHINESE = {"yes": "是", "no": "否"}
_CSS = """
:root{color-scheme:light dark;--ground:#f6f4ef;--paper:#fff;--ink:#1c1b19;--soft:#6b675f;--line:#ddd8cd;--good:#1f6b3f;--bad:#a1281d}
@media (prefers-color-scheme:dark){:root{--ground:#161513;--paper:#211f1c;--ink:#f1eee7;--soft:#a8a297;--line:#3a3732;--good:#7fd0a0;--bad:#f09084}}
body{margin:0;background:var(--ground);color:var(--ink);font:17px/1.55 system-ui,sans-serif}
main{max-width:50rem;margin:0 auto;padding:2rem 1.25rem 4rem}
figure,.box{background:var(--paper);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.2rem;margin:1.2rem 0;overflow:auto}
table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:600;padding-bottom:.4rem}
th,td{padding:.3rem .7rem .3rem 0;text-align:left;border-bottom:1px solid var(--line)}th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}
.verdict{font-weight:700}.holds{color:var(--good)}.fails{color:var(--bad)}.soft{color:var(--soft);font-size:.85rem}
svg{width:100%;height:auto}
"""


def page(lesson: Lesson, findings: Findings) -> str:
    """One HTML page that opens offline: the verdict first, then tables, figures and what to see."""
    word = ("holds", "The claim held here.") if findings.holds else ("fails", "The claim did not hold here.")
    parts = [
        f"<h1>{escape(lesson.title)}</h1>",
        f'<p class="box"><b>{escape(lesson.claim)}</b><br><span class="verdict {word[0]}">{word[1]}</span></p>',
        f"<p><b>Wrong.</b> {escape(lesson.wrong)}</p><p><b>Right.</b> {escape(lesson.right)}</p>",
        *(f'<div class="box">{_html_table(table)}</div>' for table in findings.tables),
        *(f"<figure>{svg(figure)}</figure>" for figure in findings.figures),
        "<h2>What to see</h2><ul>",
        *(f"<li>{escape(sentence)}</li>" for sentence in findings.see),
        f"</ul><h2>In the service</h2><p>{escape(lesson.service)}</p>",
        f'<p class="soft">{escape(machine())}</p>',
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(lesson.title)} · Last Seat</title><style>{_CSS}</style></head><body><main>"
        f"{''.join(parts)}</main></body></html>\n"
    )


def machine() -> str:
    """What it was measured on."""
    import os

    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _html_table(table: Table) -> str:
    numeric = _numeric(table)
    head = "".join(
        f'<th scope="col" class="{"n" if number and numeric[number] else ""}">{escape(column)}</th>'
        for number, column in enumerate(table.columns)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(written(value))}</th>'
            if number == 0
            else f'<td class="{"n" if isinstance(value, int | float) else ""}">{escape(written(value))}</td>'
            for number, value in enumerate(row)
        )
        + "</tr>"
        for row in table.rows
    )
    return f"<table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers only."""
    return [all(isinstance(row[n], int | float) for row in table.rows) for n in range(len(table.columns))]


def refresh_docs(folder: Path, lesson: Lesson, findings: Findings) -> list[Path]:
    """Write the measured tables and figures into the lesson's pages (``en/``, ``zh/``); returns what was written.

    Only what stands between the two marks of a page is replaced; the prose around it is people's.
    """
    changed = []
    for language in ("en", "zh"):
        translate = translator(lesson) if language == "zh" else _same
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
        block = "\n\n".join([BEGIN, *tables, *pictures, source, END])
        path = folder / language / f"{lesson.name}.md"
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{path} must have the marks {BEGIN} and {END}; nothing was written to it")
        path.write_text(before + block + after, encoding="utf-8")
        changed.append(path)
    return changed


def translator(lesson: Lesson) -> Callable[[str], str]:
    """Words of a lesson's tables and figures in Chinese; whatever has no translation stays as it is."""

    def translate(text: str) -> str:
        known = lesson.chinese.get(text, _COMMON_CHINESE.get(text))
        if known is not None:
            return _full_width(known)
        stem, space, number = text.rpartition(" ")  # "visitor 12" is known as "visitor"
        return f"{lesson.chinese[stem.strip()]}{space}{number}" if stem.strip() in lesson.chinese else text

    return translate


def _full_width(text: str) -> str:
    """Punctuation beside Chinese signs as wide as they are; translations may be typed either way."""
    return re.sub(f"(?<=[{_HAN}])[,:;?!()]|[,:;?!()](?=[{_HAN}])", lambda mark: chr(ord(mark[0]) + 0xFEE0), text)


def _same(text: str) -> str:
    return text


def _markdown_table(table: Table, translate: Callable[[str], str]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    numeric = _numeric(table)
    return "\n".join(
        [
            f"**{translate(table.title)}**",
            "",
            line([translate(column) for column in table.columns]),
            line(["---:" if each and n else "---" for n, each in enumerate(numeric)]),
            *(line([translate(written(value)) for value in row]) for row in table.rows),
        ]
    )
