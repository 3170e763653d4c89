"""The documentation and the registries say the same."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from loadtests.lab.checks.findings import VIOLATIONS
from loadtests.lab.cli import VERBS, lastseat
from loadtests.lab.explore.replay import GATE_LETTERS
from service.catalogue import GUARDS, GUARDS_OF
from service.experiments.gates import GATES
from service.settings import from_environment
from service.stores import STORES
from workers import WORKER_MODELS
from workers.lessons import LESSONS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SERVICE = (ROOT / "docs" / "service.md").read_text()
GUARDS_PAGE = (ROOT / "docs" / "guards.md").read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb: str) -> None:
    assert f"lastseat {verb}" in README


def test_the_readme_names_no_verb_that_does_not_exist() -> None:
    assert set(re.findall(r"`lastseat ([a-z]+)", README)) <= set(VERBS)


@pytest.mark.parametrize("guard", GUARDS)
def test_every_guard_is_documented_with_what_it_excludes(guard: str) -> None:
    explained = GUARDS_PAGE.partition("## What was seen")[0]
    [row] = [line for line in explained.splitlines() if line.startswith(f"| `{guard}` |")]
    assert GUARDS[guard].excludes in row
    assert f"| `{guard}` |" not in SERVICE  # one table: two differ some day


def test_the_questions_about_a_guard_end_at_lines_that_are_understood() -> None:
    questions = GUARDS_PAGE.partition("## What each excludes")[0]
    assert re.findall(r"^(\d)\. \*\*", questions, re.MULTILINE) == ["1", "2", "3", "4", "5"]
    lines = [shlex.split(line) for line in re.findall(r"`lastseat ((?:run|serve) [^`]+)`", questions)]
    assert len(lines) == 6
    for verb, *arguments in lines:
        command = lastseat.get_command(click.Context(lastseat), verb)
        assert command is not None
        asked = command.make_context(verb, arguments).params
        if verb == "serve":
            settings = from_environment({"LASTSEAT_STORE": asked["store"]})
            guard = asked["guard"] or STORES[settings.store].safe_guard
            assert f"guard `{guard}`" in questions or guard == "atomic"
            assert guard in GUARDS_OF[settings.store]
            assert GUARDS[guard].scope in ("host", "everybody")


@pytest.mark.parametrize("store", STORES)
def test_every_store_is_documented(store: str) -> None:
    assert f"| `{store}` |" in SERVICE


def test_the_documented_settings_are_those_that_are_read() -> None:
    documented = set(re.findall(r"`(LASTSEAT_[A-Z_]+)`", SERVICE))
    with pytest.raises(SystemExit) as refused:
        from_environment({"LASTSEAT_NONSENSE": "1"})
    read = set(re.findall(r"LASTSEAT_[A-Z_]+", str(refused.value))) - {"LASTSEAT_NONSENSE"}
    assert documented == read


def test_the_lab_and_the_service_agree_on_the_gates() -> None:
    assert tuple(gate for gate in GATE_LETTERS if gate != "invoke") == GATES, "invoke is the lab's own"


def test_every_worker_model_is_in_the_readme() -> None:
    assert all(name in README for name in WORKER_MODELS)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md"))])
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_lesson_is_in_the_index(lesson: str) -> None:
    assert f"{lesson}.md" in (ROOT / "docs" / "lessons" / "README.md").read_text()


def test_the_violations_that_the_verdict_page_names_exist() -> None:
    named = set(re.findall(r"\*([a-z -]+)\*", (ROOT / "docs" / "verdict.md").read_text())) - {"valid"}
    assert {" ".join(name.split()) for name in named} <= set(VIOLATIONS)


def test_the_picture_of_the_packages_is_what_the_imports_say() -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "scripts" / "architecture", "--check"], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")


def test_every_place_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:service|loadtests|workers|scripts|docs)/[\w/.]*)`", text)
    assert len(named) > 20
    assert [each for each in named if not (ROOT / each).exists()] == []
