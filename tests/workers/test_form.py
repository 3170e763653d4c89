"""The form that all lessons share: parameters, the time limit, pages, and the command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from workers.lessons import LESSONS, load
from workers.lessons.command import lesson
from workers.lessons.common.figures import BarChart, Span, Table, Timeline
from workers.lessons.common.lesson import (
    ClassQuestion,
    Lesson,
    LessonResult,
    Parameter,
    Progress,
    TimeLimit,
    run_lesson,
)
from workers.lessons.common.pages import answers_page, page, refresh_docs
from workers.lessons.common.processes import ProcessGroup
from workers.lessons.common.story import BEGIN, END
from workers.lessons.common.translation import translator

NUMBER = Parameter("doors", 3, "doors", 1, 10)
SHARE = Parameter("share", 0.5, "a share", 0, 1)
WORD = Parameter("colour", "red", "a colour", choices=("red", "green"))


def example(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    progress("at it")
    return LessonResult(
        holds=settings["doors"] < 10,
        measured={"doors": settings["doors"]},
        tables=[Table("Doors", ["door", "open", "share"], [["front", True, 0.5], ["back", False, None]])],
        figures=[
            Timeline("Who came when", {"visitor  1": [Span(0, 1, "waits", "wait")]}, {"wait": "waits"}),
            BarChart("Doors by house", "doors", {"old": [("a", 1), ("b", 2)]}),
        ],
        observations=[f"{settings['doors']} doors & <no> windows."],
    )


def made(run: Callable[[Mapping[str, Any], Progress], LessonResult] = example, limit_s: float = 20) -> Lesson:
    return Lesson(
        name="example",
        title="An example",
        claim="It has doors.",
        wrong="None.",
        right="Some.",
        service="At the entrance.",
        run=run,
        parameters=(NUMBER, SHARE, WORD),
        limit_s=limit_s,
        questions=[ClassQuestion("Why {doors} doors?", "For `{doors}` guests & <no> more.")],
        chinese_words=lambda: {
            "title": "一个例子",
            "claim": "它有门。",
            "wrong": "没有门。",
            "right": "有门。",
            "service": "在入口。",
            "questions": [ClassQuestion("为什么有 {doors} 扇门？", "因为有 {doors} 位客人。")],
        },
        story=lambda language: (
            f"# Title\n\n> Claim.\n\nOnce, in {language}, [far](away.md).\n\n## M\n\n{BEGIN}\nold\n{END}\n\n## See\n"
        ),
        chinese=lambda: {"Doors": "门", "door": "门", "front": "前门", "visitor": "访客", "share": "份额(比例)"},
    )


LESSON = made()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Lesson]:
    """A registry of one lesson, made here."""
    tiny = {"example": LESSON}
    monkeypatch.setattr("workers.lessons.command.LESSONS", tiny)
    monkeypatch.setattr("workers.lessons.command.load", tiny.__getitem__)
    return tiny


def call(*arguments: str) -> Result:
    return CliRunner().invoke(lesson, arguments, standalone_mode=False)


# -- parameters -----------------------------------------------------------------------------------------------------


def test_what_is_not_given_has_its_default_and_text_becomes_a_number() -> None:
    assert made().settings() == {"doors": 3, "share": 0.5, "colour": "red"}
    assert made().settings({"doors": "7", "share": "0.25", "colour": "green"})["doors"] == 7


@pytest.mark.parametrize("value", [0, 11, -1, "many", "3.5", "", None, True, float("inf"), float("nan")])
def test_a_whole_number_out_of_bounds_or_no_number_is_refused_in_words(value: Any) -> None:
    with pytest.raises(ValueError, match=r"doors must be a whole number from 1 to 10, not"):
        NUMBER.check(value)


@pytest.mark.parametrize("value", [-0.1, 1.1, "half", float("nan"), None, False])
def test_a_share_out_of_bounds_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="share must be a number from 0 to 1"):
        SHARE.check(value)


@pytest.mark.parametrize("value", ["blue", "", 1, None])
def test_a_word_that_is_no_choice_is_refused_and_the_choices_named(value: Any) -> None:
    with pytest.raises(ValueError, match="colour must be one of red, green"):
        WORD.check(value)


def test_an_unknown_parameter_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match=r"no parameter 'windows'; it has: colour, doors, share"):
        run_lesson(made(), {"windows": 2})


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_of_the_registry_fills_the_form(name: str) -> None:
    found = load(name)
    assert found.name == name
    assert all((found.title, found.claim, found.wrong, found.right, found.service))
    assert found.settings() == found.settings({each.name: each.default for each in found.parameters})
    for parameter in found.parameters:
        wrong = "no such word" if parameter.choices else parameter.high + 1
        with pytest.raises(ValueError, match=parameter.name):
            found.settings({parameter.name: wrong})


def test_an_observation_names_parameters_measured_numbers_and_facts() -> None:
    def run(_settings: Mapping[str, Any], _progress: Progress) -> LessonResult:
        return LessonResult(holds=True, measured={"open": 2.5}, facts={"house": {"old one": "red"}})

    lesson = replace(made(run), observations=("{doors} doors, {open:.0f} open, in the {house[old one]} house.",))
    assert run_lesson(lesson).observations == ["3 doors, 2 open, in the red house."]


# -- the time limit -------------------------------------------------------------------------------------------------


def test_a_lesson_that_hangs_is_ended() -> None:
    def hang(_settings: Mapping[str, Any], _progress: Progress) -> LessonResult:
        signal.pause()
        raise AssertionError("not reached")

    with pytest.raises(TimeLimit, match=r"lesson example was ended after 0\.1 s"):
        run_lesson(made(hang, limit_s=0.1))


def test_after_the_lesson_the_alarm_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGALRM)
    run_lesson(made())
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_lesson_that_hangs_leaves_no_process(method: str) -> None:
    members: list[Any] = []

    def hang(_settings: Mapping[str, Any], _progress: Progress) -> LessonResult:
        with ProcessGroup(method) as group:
            members.append(group.start(time.sleep, 600).pid)
            group.join(600)
        raise AssertionError("not reached")

    with pytest.raises(TimeLimit):
        run_lesson(made(hang, limit_s=0.5))
    assert not any(psutil.pid_exists(pid) for pid in members)


# -- pages ----------------------------------------------------------------------------------------------------------


def test_the_translator_knows_numbered_names_and_leaves_the_rest() -> None:
    translate = translator(LESSON.chinese())
    assert translate("front") == "前门"
    assert translate("visitor 12") == "访客 12"
    assert translate("visitor  1") == "访客 1"
    assert translate("yes") == "是"
    assert translate("unknown 3") == "unknown 3"
    assert translate("3") == "3"


def test_chinese_punctuation_is_as_wide_as_its_signs() -> None:
    assert translator(LESSON.chinese())("share") == "份额（比例）"


@pytest.fixture
def docs(tmp_path: Path) -> Iterator[Path]:
    for language in ("en", "zh"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "example.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    yield tmp_path


def test_only_what_stands_between_the_marks_is_replaced(docs: Path) -> None:
    written = refresh_docs(docs, LESSON, run_lesson(LESSON))
    assert sorted(path.name for path in written) == sorted(
        ["example-1.en.svg", "example-1.zh.svg", "example-2.en.svg", "example-2.zh.svg", "example.md", "example.md"]
    )
    english, chinese = ((docs / language / "example.md").read_text() for language in ("en", "zh"))
    for text in (english, chinese):
        assert text.startswith(f"before\n{BEGIN}")
        assert text.endswith(f"{END}\nafter\n")
        assert "old" not in text
    assert "| front | yes | 0.5 |" in english
    assert "| 前门 | 是 | 0.5 |" in chinese
    assert "../pictures/example-1.en.svg" in english
    assert "访客 1" in (docs / "pictures" / "example-1.zh.svg").read_text()


def test_a_page_without_marks_is_not_touched(docs: Path) -> None:
    (docs / "en" / "example.md").write_text("people's words\n")
    with pytest.raises(ValueError, match="must have the marks"):
        refresh_docs(docs, LESSON, run_lesson(LESSON))
    assert (docs / "en" / "example.md").read_text() == "people's words\n"


def test_a_page_stands_alone_and_says_whether_the_claim_held() -> None:
    held, failed = (page(LESSON, run_lesson(LESSON, {"doors": doors}), "a.html") for doors in (3, 10))
    assert "✓ the claim held here" in held
    assert "✗ the claim did NOT hold here" in failed
    assert "3 doors &amp; &lt;no&gt; windows." in held
    _loads_nothing(held)


def test_a_page_tells_the_story_without_what_was_measured_for_it_and_without_its_links() -> None:
    text = page(LESSON, run_lesson(LESSON), "a.html")
    assert "<p>Once, in en, far.</p>" in text
    assert "<h2>See</h2>" in text
    for left_out in ("Title", "Claim.", "<h2>M</h2>", "old\n", "measured: begin"):
        assert left_out not in text


def test_a_page_says_what_one_types_for_a_run_like_it() -> None:
    plain, other = (run_lesson(LESSON, given).command for given in ({}, {"doors": "4", "colour": "red"}))
    assert plain == "lastseat lesson example"
    assert other == "lastseat lesson example --doors 4"
    assert f"<code>{other}</code>" in page(LESSON, run_lesson(LESSON, {"doors": 4}), "a.html")


def test_the_questions_stand_on_the_page_and_the_answers_on_a_page_of_their_own() -> None:
    found = run_lesson(LESSON, {"doors": 4})
    asked, answered = page(LESSON, found, "a.html"), answers_page(LESSON, found, "page.html")
    assert "Why 4 doors?" in asked
    assert "guests" not in asked
    assert 'href="a.html"' in asked
    assert "For <code>4</code> guests &amp; &lt;no&gt; more." in answered
    assert 'href="page.html"' in answered
    _loads_nothing(answered)


def test_in_chinese_the_page_the_figures_and_the_words_around_them_are_chinese() -> None:
    told = LESSON.told_in("zh")
    found = run_lesson(told)
    text = page(told, found, "a.html") + answers_page(told, found, "page.html")
    assert '<html lang="zh-Hans">' in text
    for words in (
        "它有门。",
        "前门",
        "访客 1",
        "in zh",
        "课堂提问",
        "为什么有 3 扇门？",
        "因为有 3 位客人。",
        "✓ 这个说法在这里成立",
    ):
        assert words in text
    assert "Questions" not in text


def _loads_nothing(html: str) -> None:
    """No address but the name of the SVG language, which nobody fetches."""
    rest = html.replace("http://www.w3.org/2000/svg", "").replace("url(#h-", "")
    for reference in ("http://", "https://", "//cdn", "<script", "<link", "@import", "url("):
        assert reference not in rest


# -- the command ----------------------------------------------------------------------------------------------------


def test_without_a_name_all_lessons_are_listed_with_their_claims() -> None:
    result = call()
    assert result.exit_code == 0
    for name in LESSONS:
        assert name in result.output
    assert "Waiting overlaps" in result.output


@pytest.mark.usefixtures("registry")
def test_json_has_the_name_the_claim_whether_it_held_and_what_was_measured() -> None:
    result = call("example", "--doors", "4", "--json")
    assert json.loads(result.stdout) == {
        "name": "example",
        "claim": "It has doors.",
        "holds": True,
        "measured": {"doors": 4},
    }
    assert result.return_value == 0


@pytest.mark.usefixtures("registry")
def test_the_terminal_shows_the_claim_the_tables_the_figures_and_the_observations() -> None:
    result = call("example")
    for words in ("It has doors.", "front", "Who came when", "Doors by house", "3 doors", "At the entrance."):
        assert words in result.stdout
    assert "the claim held here" in result.stdout


@pytest.mark.usefixtures("registry")
def test_a_claim_that_does_not_hold_says_so_and_exits_1() -> None:
    result = call("example", "--doors", "10")
    assert result.return_value == 1
    assert "did NOT hold" in result.stdout
    assert json.loads(call("example", "--doors", "10", "--json").stdout)["holds"] is False


@pytest.mark.usefixtures("registry")
def test_html_writes_a_page_that_loads_nothing_and_the_answers_beside_it(tmp_path: Path) -> None:
    said = call("example", "--html", str(tmp_path / "page.html")).stderr
    text = (tmp_path / "page.html").read_text()
    assert "<svg" in text
    assert 'href="page-answers.html"' in text
    assert "For <code>3</code> guests" in (tmp_path / "page-answers.html").read_text()
    assert "page-answers.html" in said
    _loads_nothing(text)


@pytest.mark.usefixtures("registry")
def test_the_language_is_that_of_the_terminal_and_of_the_page(tmp_path: Path) -> None:
    said = call("example", "--lang", "zh", "--html", str(tmp_path / "page.html")).stdout
    for words in ("它有门。", "门", "访客", "这个说法在这里成立"):
        assert words in said
        assert words in (tmp_path / "page.html").read_text()
    assert "the claim held here" not in said


def test_the_help_shows_how_to_write_a_page_and_how_to_have_it_in_chinese() -> None:
    said = call("--help").output
    assert "lesson mutex --html m.html" in said
    assert "m-answers.html" in said
    assert "--lang zh" in said


@pytest.mark.usefixtures("registry")
def test_all_runs_every_lesson_and_gives_a_list(tmp_path: Path) -> None:
    result = call("all", "--json", "--html", str(tmp_path))
    assert [found["name"] for found in json.loads(result.stdout)] == ["example"]
    assert result.return_value == 0
    assert (tmp_path / "example.html").exists()
    assert (tmp_path / "example-answers.html").exists()


def test_all_in_chinese_has_every_claim_whole_and_a_chinese_frame(registry: dict[str, Lesson]) -> None:
    long = "很长的说法，中间没有空格" * 12
    registry["example"] = replace(LESSON, chinese_words=lambda: {"claim": long})
    said = call("all", "--lang", "zh").stdout
    assert long in "".join(re.findall("[\u4e00-\u9fff，]", said.partition("┡")[2])).replace("是", "")
    assert "成立" in said
    assert not re.search("[…]|claim|held|yes", said)


def test_all_exits_1_where_one_claim_did_not_hold(registry: dict[str, Lesson]) -> None:
    registry["failing"] = made(lambda _settings, _progress: LessonResult(holds=False, measured={}))
    assert call("all", "--json").return_value == 1


@pytest.mark.parametrize("wrong", ["--places=0", "--places=-1", "--places=many", "--visitors=1000000", "--seats=3"])
def test_a_wrong_parameter_exits_64_and_says_what_would_be_right(wrong: str) -> None:
    result = _lastseat("lesson", "semaphore", wrong)
    assert result.returncode == 64
    assert wrong.partition("=")[0].lstrip("-") in result.stderr
    assert result.stdout == ""


def test_a_lesson_that_there_is_not_exits_64() -> None:
    assert _lastseat("lesson", "juggling").returncode == 64


def _lastseat(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from loadtests.lab.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
