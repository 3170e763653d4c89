"""Every exercise as a learner meets it: as it is written it loses, its right solution passes, its wrong ones do not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from workers.exercises import EXERCISES, load
from workers.exercises.command import exercise
from workers.exercises.common import words
from workers.exercises.common.grading import SPARE_S
from workers.lessons import LESSONS

SOLUTIONS = Path(__file__).with_name("exercises")
DOCS = Path(__file__).parents[2] / "docs"
LIMIT_S = 90
"""On a machine that does much else an order takes longer, and no fewer have to be tried."""
LIMITED = pytest.mark.timeout(LIMIT_S + SPARE_S + 60)

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]


def lastseat(*arguments: str | Path) -> Result:
    return CliRunner().invoke(exercise, [str(each) for each in arguments], standalone_mode=False)


def checked(folder: Path, *options: str) -> dict[str, Any]:
    """What ``check --json`` says; its exit status is what its verdict says."""
    result = lastseat("check", folder, "--json", "--limit", str(LIMIT_S), *options)
    found: dict[str, Any] = json.loads(result.output)
    assert result.return_value == (0 if found["passed"] else 1)
    return found


def solution(name: str, file: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(file, folder / f"{name}.py")
    return folder


@LIMITED
@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_as_it_is_written_loses_and_shows_the_losing_lines_of_the_file(name: str, tmp_path: Path) -> None:
    assert lastseat("start", name, tmp_path / "mine").exit_code == 0
    found = checked(tmp_path / "mine")
    assert not found["passed"]
    assert found["tried"] >= 1
    lines = (tmp_path / "mine" / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(found["order"]) > 1
    assert len({step["actor"] for step in found["order"]}) > 1
    for step in found["order"]:
        assert step["source"] == (lines[step["line"] - 1].strip() if step["line"] else "")


@LIMITED
@pytest.mark.parametrize(
    ("name", "file"),
    [(name, file) for name in EXERCISES for file in sorted((SOLUTIONS / name).glob("right*.py"))],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
def test_a_right_solution_passes_and_two_were_inside_at_once(name: str, file: Path, tmp_path: Path) -> None:
    found = checked(solution(name, file, tmp_path / "right"))
    assert found["passed"], found["message"]
    assert found["overlapped"] or not load(name).needs_overlap
    assert found["tried"] > 1


@LIMITED
@pytest.mark.parametrize(
    ("program", "loss", "served"),
    [
        ("wrong_sleeps", "answer_lost", {"shop, question 1"}),
        ("wrong_key_looked_up_before_the_lock", "question_lost", set()),
    ],
)
def test_a_losing_order_of_the_retry_shows_which_message_was_lost_and_that_the_client_asked_again(
    program: str, loss: str, served: set[str], tmp_path: Path
) -> None:
    name = "retry_that_sells_twice"
    order = checked(solution(name, SOLUTIONS / name / f"{program}.py", tmp_path / "wrong"))["order"]
    [lost] = [place for place, step in enumerate(order) if step["note"] == loss]
    before, after = order[:lost], order[lost + 1 :]
    asks = order[lost] | {"note": ""}
    assert asks["actor"] == "Ann"
    assert asks in before
    assert {step["actor"] for step in before} - {"Ann", "network"} == served
    assert asks in after
    assert "shop, question 2" in {step["actor"] for step in after[after.index(asks) :]}


def test_each_exercise_has_three_wrong_solutions_and_is_twenty_to_sixty_lines_long() -> None:
    for name in EXERCISES:
        assert (SOLUTIONS / name / "right.py").exists()
        assert len(list((SOLUTIONS / name).glob("wrong_*.py"))) >= 3, name
        assert 20 <= len(words.program(name, "folder", "en").splitlines()) <= 60, name


def test_each_exercise_says_the_same_in_both_languages() -> None:
    for name in EXERCISES:
        english, chinese = (words.texts(name, language) for language in ("en", "zh"))
        assert english.keys() == chinese.keys()
        assert english["lesson"] == chinese["lesson"]
        assert english["lesson"] in LESSONS
        _assert_same_names(english.get("findings", {}), chinese.get("findings", {}))
        assert not english.get("findings", {}).keys() & words.shared("en")["findings"].keys()
    _assert_same_names(words.shared("en")["findings"], words.shared("zh")["findings"])
    assert words.shared("en").keys() == words.shared("zh").keys()


def _assert_same_names(english: dict[str, str], chinese: dict[str, str]) -> None:
    """The same sentences, which name the same values."""
    assert english.keys() == chinese.keys()
    for name, sentence in english.items():
        assert set(re.findall(r"{\w+", sentence)) == set(re.findall(r"{\w+", chinese[name])), name


def test_the_list_names_every_exercise_in_both_languages() -> None:
    for language in ("en", "zh"):
        listed = lastseat("--lang", language).output
        assert all(name in listed for name in EXERCISES)


def test_start_keeps_a_program_that_is_there_already(tmp_path: Path) -> None:
    assert lastseat("start", EXERCISES[0], tmp_path).exit_code == 0
    (program,) = tmp_path.iterdir()
    program.write_text("mine", encoding="utf-8")
    again = lastseat("start", EXERCISES[0], tmp_path)
    assert "Nothing was written" in str(again.exception)
    assert program.read_text(encoding="utf-8") == "mine"


@LIMITED
def test_a_failed_check_tells_a_reader_and_an_autograder_the_same_in_chinese(tmp_path: Path) -> None:
    name = EXERCISES[0]
    assert lastseat("start", name, tmp_path / "mine", "--lang", "zh").exit_code == 0
    report = tmp_path / "report.xml"
    told = lastseat("check", tmp_path / "mine", "--lang", "zh", "--junit", report)
    assert told.return_value == 1
    assert "还没有通过" in told.output
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text is not None
    assert failure.text.strip() == told.output.strip()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_exercise_and_its_lesson_lead_to_each_other(language: str) -> None:
    page = (DOCS / ("exercises.md" if language == "en" else f"exercises.{language}.md")).read_text(encoding="utf-8")
    for name in EXERCISES:
        lesson = words.texts(name, language)["lesson"]
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert f"[{lesson}](lessons/{language}/{lesson}.md)" in row
        told = (DOCS / "lessons" / language / f"{lesson}.md").read_text(encoding="utf-8")
        assert f"lastseat exercise start {name}" in told
        assert f"exercises{'' if language == 'en' else '.zh'}.md)" in told
