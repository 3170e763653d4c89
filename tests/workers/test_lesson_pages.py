"""Every lesson of the registry has its pages, in both languages and filled; the index and the ledger know it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from workers.lessons import LESSONS, load
from workers.lessons.common.lesson import Lesson
from workers.lessons.common.pages import BEGIN, END
from workers.lessons.common.translation import entry_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "lessons"
LANGUAGES = ("en", "zh")
RARE = {"crashed"} | {
    text
    for text in load("gil").chinese()
    if text == "none" or text.startswith(("No free-threaded interpreter", "Free-threaded, "))
}
"""Texts that no page shows: one needs a run that goes wrong as none did there, the others stand in sentences."""
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_TABLE_ROW = re.compile(r"^\| (.+) \|$", re.M)

pages = pytest.mark.parametrize(("name", "language"), [(name, language) for name in LESSONS for language in LANGUAGES])


def read(name: str, language: str) -> str:
    return (DOCS / language / f"{name}.md").read_text()


def measured(text: str) -> str:
    return text.partition(BEGIN)[2].partition(END)[0]


def test_every_page_belongs_to_a_lesson() -> None:
    for language in LANGUAGES:
        assert {path.stem for path in (DOCS / language).glob("*.md")} == set(LESSONS)


@pages
def test_a_page_has_both_marks_once_on_lines_of_their_own_and_between_them_what_was_measured(
    name: str, language: str
) -> None:
    lines = read(name, language).splitlines()
    assert lines.count(BEGIN) == lines.count(END) == 1
    block = measured(read(name, language))
    assert _TABLE_ROW.search(block)
    assert f"lastseat lesson {name}`" in block


@pages
def test_the_pictures_of_a_page_are_there_and_are_pictures(name: str, language: str) -> None:
    linked = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", measured(read(name, language)))
    assert linked
    for title, target in linked:
        picture = (DOCS / language / target).resolve()
        assert picture.name.endswith(f".{language}.svg")
        assert ElementTree.parse(picture).getroot().get("aria-label") == title


@pages
def test_every_link_of_a_page_leads_somewhere(name: str, language: str) -> None:
    for target in _LINK.findall(read(name, language)):
        if "://" not in target:
            assert (DOCS / language / target).exists(), target


@pages
def test_the_commands_that_a_page_proposes_are_understood(name: str, language: str) -> None:
    proposed = re.findall(rf"^lastseat lesson {re.escape(name)} (--[^#\n]+)", read(name, language), re.M)
    assert proposed
    lesson = load(name)
    for options in proposed:
        _understood(lesson, options.split())


def _understood(lesson: Lesson, words: list[str]) -> None:
    given: dict[str, str] = {}
    names = iter(words)
    for word in names:
        if word not in ("--json", "--html", "--docs", "--lang"):
            given[word.removeprefix("--").replace("-", "_")] = next(names)
    lesson.settings(dict(given))


@pytest.mark.parametrize("name", LESSONS)
def test_the_chinese_page_is_chinese_and_so_are_the_titles_of_its_tables_and_figures(name: str) -> None:
    english, chinese = measured(read(name, "en")), measured(read(name, "zh"))
    assert len(_TABLE_ROW.findall(english)) == len(_TABLE_ROW.findall(chinese))
    # The titles of all tables and figures.
    for line in chinese.splitlines():
        if line.startswith(("**", "![")):
            assert _HAN.search(line), line
    assert _HAN.search(read(name, "zh").partition(BEGIN)[0])
    assert not _HAN.search(read(name, "en"))


# Names of programs, of Python and of gunicorn: the same in both languages.
_SAME_IN_BOTH = re.compile(
    r"[A-Z_]+|to \d+|num|one|Python|Lock|RLock|MainThread|by-class|by-function|join\(\)|future\.result\(\)|asyncio|"
    r"\w+Error|(BEGIN.*)|(sync|gthread|gevent) \d* ?× \d+"
)
_TIMES = re.compile(r"\s*-?[\d.]+ m?s – -?[\d.]+ m?s$|^-?[\d.]+ m?s$")


def shown(name: str) -> set[str]:
    """Every text in the tables and figures of the English page, without the times of the spans."""
    block = measured(read(name, "en"))
    texts = {cell.replace("\\|", "|") for row in _TABLE_ROW.findall(block) for cell in re.split(r" \| ", row)}
    texts |= set(re.findall(r"^\*\*(.+)\*\*$", block, re.M)) | set(re.findall(r"^!\[(.+?)\]", block, re.M))
    for target in re.findall(r"^!\[.+\]\((.+)\)$", block, re.M):
        drawn = ElementTree.parse(DOCS / "en" / target).iter()
        texts |= {each.text or "" for each in drawn if each.tag.endswith(("}text", "}title"))}
    texts = {_TIMES.sub("", text).strip() for text in texts}
    return {text for text in texts if re.search(r"[A-Za-z]{2}", text)}


@pytest.mark.parametrize("name", LESSONS)
def test_every_text_that_a_lesson_shows_has_its_chinese(name: str) -> None:
    lesson = load(name)
    chinese = {"yes": "是", "no": "否", **lesson.chinese()}
    missing = {text for text in shown(name) if entry_of(text, chinese) is None and not _SAME_IN_BOTH.fullmatch(text)}
    assert missing == set()
    assert all(_HAN.search(text) or text == entry for entry, text in chinese.items())


@pytest.mark.parametrize("name", LESSONS)
def test_no_chinese_is_left_of_a_text_that_the_lesson_does_not_show(name: str) -> None:
    chinese = load(name).chinese()
    used = {entry_of(text, chinese) for text in shown(name)}
    assert set(chinese) - used - RARE == set()


@pytest.mark.parametrize("name", LESSONS)
def test_the_index_leads_to_both_pages_and_the_ledger_names_the_lesson(name: str) -> None:
    index, ledger = (DOCS / "README.md").read_text(), (DOCS / "ledger.md").read_text()
    assert f"](en/{name}.md)" in index
    assert f"](zh/{name}.md)" in index
    assert f"[{name}](en/{name}.md)" in ledger


def test_the_index_has_the_lessons_in_the_order_of_the_registry() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "README.md").read_text(), re.M) == list(LESSONS)


def ledger_tables(page: str) -> list[list[list[str]]]:
    """Of each table of a ledger its rows, in their order, each as its cells; without the heading."""
    sections = (DOCS / page).read_text().split("\n## ")[1:]
    return [[row.split(" | ") for row in _TABLE_ROW.findall(section)][1:] for section in sections]


def figures(cell: str) -> list[str]:
    """All numbers of a cell, as they are written, in an order that does not depend on the language."""
    return sorted(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", cell))


def test_the_chinese_ledger_has_the_rows_the_lessons_and_the_figures_of_the_english_one() -> None:
    english, chinese = ledger_tables("ledger.md"), ledger_tables("ledger.zh.md")
    assert [len(table) for table in chinese] == [len(table) for table in english]
    rows = [pair for tables in zip(english, chinese, strict=True) for pair in zip(*tables, strict=True)]
    assert len(rows) > 30
    for (claim, verdict, lessons, decided), (claim_zh, verdict_zh, lessons_zh, decided_zh) in rows:
        assert _LINK.findall(lessons_zh) == [link.replace("en/", "zh/") for link in _LINK.findall(lessons)], claim
        assert figures(decided_zh) == figures(decided), claim
        assert figures(claim_zh) == figures(claim), claim
        assert ("**错误**" in verdict_zh) == ("**wrong**" in verdict), claim
        assert ("才成立" in verdict_zh) == bool(re.search("only (if|as)", verdict)), claim
        assert all(_HAN.search(cell) for cell in (claim_zh, verdict_zh, decided_zh)), claim


def test_each_ledger_begins_with_a_link_to_the_other() -> None:
    assert "](ledger.zh.md)" in (DOCS / "ledger.md").read_text().split("\n\n")[1]
    assert "](ledger.md)" in (DOCS / "ledger.zh.md").read_text().split("\n\n")[1]
    assert "](ledger.zh.md)" in (DOCS / "README.md").read_text()


def test_every_claim_of_the_ledger_has_a_verdict_and_what_decided_it() -> None:
    rows = [row.split(" | ") for row in _TABLE_ROW.findall((DOCS / "ledger.md").read_text())]
    claims = [row for row in rows if row[0] != "claim" and not row[0].startswith("--")]
    assert len(claims) > 30
    for claim, verdict, lessons, decided in claims:
        assert re.search(r"holds|only if|wrong", verdict), claim
        assert "](en/" in lessons
        assert re.search(r"\d", decided), claim


@pytest.mark.parametrize("page", ["README.md", "ledger.md", "ledger.zh.md"])
def test_every_link_of_the_index_and_of_the_ledger_leads_somewhere(page: str) -> None:
    for target in _LINK.findall((DOCS / page).read_text()):
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_says_where_in_the_service_it_is_met_and_the_place_exists(name: str) -> None:
    places = re.findall(r"\b((?:service|workers|loadtests)/[\w/]+\.py|gunicorn\.conf\.py)", load(name).service)
    for place in places:
        assert (ROOT / place).exists(), place


def test_nobody_has_to_load_gevent_or_the_service_to_see_the_list() -> None:
    program = (
        "import sys\nfrom workers.lessons import LESSONS, load\n"
        "for name in LESSONS: load(name)\n"
        "print([module for module in ('gevent', 'service.app', 'locust') if module in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"
