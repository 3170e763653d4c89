"""The page that each lesson writes, in both languages: its story, its code, the figures of this run, its questions."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from workers.lessons import LESSONS, load
from workers.lessons.common.figures import Table, as_text
from workers.lessons.common.lesson import Lesson, LessonResult, tell
from workers.lessons.common.pages import answers_page, page
from workers.lessons.common.sources import excerpt
from workers.lessons.common.translation import LANGUAGES, shared_words

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, Any]] = {
    "tcp": {"connections": 4, "rounds": 1, "processes": 2, "pool": 2},
    "mutex": {"buyers": 4, "delay_ms": 20, "browse_ms": 10, "rewrites": 20},
    "spawn": {"most": 50, "processes": 2, "spawned": 1},
    "threads": {"threads": 3, "processes": 1, "work_ms": 20},
    "gil": {"threads": 4, "times": 100, "others": "no"},
    "cpu-io": {"tasks": 4, "work_ms": 5, "tries": 1},
    "deadlock": {"rounds": 2, "stuck_ms": 10},
    "event": {"cars": 3, "red_ms": 20},
    "pools": {"workers": 2, "tasks": 9, "task_ms": 2, "threads": 50, "processes": 16, "tries": 1},
    "coroutines": {"unit_ms": 10, "lasts_ms": 20, "greenlets": 3, "switches": 100},
    "hybrid": {"work_ms": 4, "tries": 1},
    "lock-kinds": {"think_ms": 5},
    "worker-classes": {"buyers": 2, "purchases": 1, "threads": 2, "think_ms": 5},
}
_HAN = re.compile(r"[\u4e00-\u9fff]")
# What is the same in both languages: names of programs and instructions, numbers with their units, addresses of code.
_SAME = re.compile(
    r"Last Seat|[A-Z_]+|to \d+|num|one|Python|Lock|RLock|MainThread|by-(class|function)|(join|future\.result)\(\)|join|"
    r"asyncio|\w+Error|(BEGIN.*)|(sync|gthread|gevent)[ \d]* ?× \d+|(\d+ → \d+ )?(-?[\d.,]+ m?s( – )?)+|workers/\S+"
)
_UNCOUNTED = ("code", "pre", "style", "script")
_BLOCKS = re.compile(r"h\d|p|li|t[hd]|caption|d[td]|figcaption|summary|text|title")

told = pytest.mark.parametrize(("name", "language"), [(name, language) for name in LESSONS for language in LANGUAGES])


@cache
def _run(name: str) -> tuple[dict[str, Any], LessonResult]:
    """One run of each lesson, for all tests of this file. Whether its claim held is a matter of other tests."""
    settings = load(name).settings(SMALL.get(name))
    return settings, load(name).run(settings, lambda _: None)


@cache
def pages(name: str, language: str) -> tuple[Lesson, LessonResult, str, str]:
    """The lesson in a language, its findings, its page and the page of its answers."""
    lesson = load(name).told_in(language)
    found = tell(lesson, *_run(name))
    return lesson, found, page(lesson, found, "answers.html"), answers_page(lesson, found, "page.html")


class Blocks(HTMLParser):
    """The text of each heading, paragraph, cell and so on, without code."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = [""]
        self._uncounted = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._uncounted += tag in _UNCOUNTED
        if _BLOCKS.fullmatch(tag):
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._uncounted -= tag in _UNCOUNTED
        if _BLOCKS.fullmatch(tag):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if not self._uncounted:
            self.texts[-1] += data


def blocks(html: str) -> list[str]:
    parser = Blocks()
    parser.feed(html)
    return [text.strip() for text in parser.texts if text.strip()]


@told
def test_the_page_has_the_story_the_claim_and_whether_it_held(name: str, language: str) -> None:
    lesson, found, html, _ = pages(name, language)
    assert f"<h1>{escape(lesson.title)}</h1>" in html
    assert str(escape(lesson.claim.strip())) in html
    assert shared_words(language)["held" if found.holds else "failed"] in html
    written = (ROOT / "docs" / "lessons" / language / f"{name}.md").read_text()
    headings = [line[3:] for line in written.splitlines() if line.startswith("## ")]
    measured = [each for each in headings if each in ("Measured", "测量结果")]
    assert [each for each in headings if f"<h2>{each}</h2>" not in html] == measured
    assert "**" not in "".join(blocks(html))
    assert "measured: begin" not in html


@told
def test_the_page_has_the_code_as_it_stands_in_the_files(name: str, language: str) -> None:
    lesson, _, html, _ = pages(name, language)
    assert lesson.code
    for place in lesson.code:
        part = excerpt(place)
        assert str(escape(part.text)) in html
        assert f"{part.path}, from line {part.line}" in html or f"{part.path}，从第 {part.line} 行起" in html
        lines = (ROOT / part.path).read_text().splitlines()
        assert [line.strip() for line in lines[part.line - 1 :]][: len(part.text.splitlines())] == [
            line.strip() for line in part.text.splitlines()
        ]
    own = ROOT / "workers" / "lessons" / name.replace("-", "_") / "lesson.py"
    assert str(escape(own.read_text())) in html


@told
def test_the_page_has_the_figures_of_this_run(name: str, language: str) -> None:
    lesson, found, html, _ = pages(name, language)
    shown = blocks(html)
    assert found.tables
    for table in found.tables:
        assert lesson.translate(table.title) in shown
        for row in table.rows:
            for value in row:
                assert re.sub(r"\s+", " ", lesson.translate(as_text(value))) in [re.sub(r"\s+", " ", t) for t in shown]
    assert html.count("<svg") == len(found.figures) > 0
    for sentence in found.observations:
        assert str(escape(sentence)) in html
    assert found.command in html


def test_what_another_run_measured_is_not_on_the_page() -> None:
    lesson, found, html, _ = pages("semaphore", "en")
    another = replace(found, tables=[Table("Another run", ["most inside"], [[987_654]])])
    assert "987,654" not in html
    assert "987,654" in page(lesson, another, "answers.html")


@told
def test_three_to_five_questions_are_asked_and_answered_elsewhere(name: str, language: str) -> None:
    lesson, found, html, answers = pages(name, language)
    assert 3 <= len(lesson.questions) <= 5
    assert len(lesson.questions) == len(load(name).questions)
    for each in lesson.questions:
        ask, answer = (_plain(text.format_map(found.numbers)) for text in (each.ask, each.answer))
        assert "?" in ask or "？" in ask
        assert len(answer) > len(ask) / 2 > 5
        assert ask in [_plain(text) for text in _texts(html)]
        assert answer not in _plain(html)
        assert {ask, answer} <= {_plain(text) for text in _texts(answers)}
    assert 'href="answers.html"' in html
    assert 'href="page.html"' in answers


def _texts(html: str) -> list[str]:
    """Each paragraph and each entry of a list, its code included."""
    return re.findall(r"<(?:p|li)(?: [^>]*)?>(.*?)</(?:p|li)>", html, re.S)


def _plain(text: str) -> str:
    """Without the marks of code, for the questions' TOML writes them in another way than the page."""
    return " ".join(unescape(re.sub(r"</?code>|`", "", text)).split())


@pytest.mark.parametrize("name", LESSONS)
def test_the_chinese_page_is_chinese_wherever_it_is_not_code(name: str) -> None:
    _, _, html, answers = pages(name, "zh")
    latin = [text for text in blocks(html) + blocks(answers) if re.search(r"[A-Za-z]{2}", text)]
    assert [text for text in latin if not _HAN.search(text) and not _SAME.fullmatch(text)] == []
    assert '<html lang="zh-Hans">' in html
    assert not any(_HAN.search(text) for text in blocks(pages(name, "en")[2]))


@told
def test_the_pages_load_nothing(name: str, language: str) -> None:
    for html in pages(name, language)[2:]:
        rest = re.sub(r"<code>.*?</code>", "", html.replace("http://www.w3.org/2000/svg", ""), flags=re.S)
        for reference in ("http://", "https://", "<script", "<link", "<img", "@import", "src="):
            assert reference not in rest
        assert set(re.findall(r"url\((.)", rest)) <= {"#"}


def test_the_words_around_all_lessons_are_the_same_ones_in_both_languages() -> None:
    english, chinese = shared_words("en"), shared_words("zh")
    assert english.keys() == chinese.keys()
    assert [name for name, said in chinese.items() if not _HAN.search(said) and name != "language"] == []


@pytest.mark.parametrize(
    "wrong", ["lessons/mutex/sale.py sell", "lessons/mutex/sale.py Purchase.nothing", "tcp/no.py x"]
)
def test_code_that_is_not_there_is_an_error(wrong: str) -> None:
    with pytest.raises((LookupError, OSError)):
        excerpt(wrong)
