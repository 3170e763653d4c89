"""The lesson on the GIL: what it protects, what it does not, and where this interpreter switches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from held import held

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.common.processes import ChildFailed, run_script
from workers.lessons.gil import interpreters
from workers.lessons.gil.interpreters import PROBE, others, this_one

LESSON = load("gil")

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return this_one(30, 1500)


def test_a_pause_or_a_call_between_reading_and_writing_loses_decrements(here: dict[str, Any]) -> None:
    assert here["with_a_pause"]["left"] > 0
    assert here["with_a_call"]["left"] > 0


def test_with_a_lock_none_is_lost(here: dict[str, Any]) -> None:
    assert here["with_a_pause_locked"]["left"] == here["with_a_call_locked"]["left"] == 0


def test_the_interpreters_own_counts_stay_right(here: dict[str, Any]) -> None:
    assert here["references"]["found"] == here["references"]["expected"]
    assert here["appends"]["found"] == here["appends"]["expected"] == 30 * 1500


def test_with_the_lock_each_number_is_read_by_one_thread_only(here: dict[str, Any]) -> None:
    read = sorted(number for *_, number in here["with_a_pause_locked"]["spans"])
    assert read == list(range(1, 31))
    assert len({number for *_, number in here["with_a_pause"]["spans"]}) < 30


def test_a_switch_is_seen_in_the_call_and_none_is_lost_unseen(here: dict[str, Any]) -> None:
    call = next(step for step in here["points_with_a_call"] if step["does"].startswith("CALL"))
    assert call["seen"] > 0
    names = [(step["does"], step["with"]) for step in here["points_in_one_line"]]
    assert ("LOAD_GLOBAL", "num") in names
    assert ("STORE_GLOBAL", "num") in names


@pytest.mark.skipif(sys.version_info < (3, 10), reason="before 3.10 any instruction could be the last one")
def test_num_minus_one_is_not_interrupted_in_this_version(here: dict[str, Any]) -> None:
    if here["about"]["free_threaded"]:
        pytest.skip("without a GIL nothing has to be switched")
    steps = here["points_in_one_line"]
    seen = {step["does"] for step in steps if step["seen"]}
    assert seen == {steps[-1]["does"]}
    assert here["in_one_line"]["left"] == 0


def test_an_interpreter_that_is_none_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python3.14t"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    # A second name of this one is no other interpreter.
    monkeypatch.setattr(interpreters, "_candidates", lambda: iter([broken, Path(sys.executable)]))
    assert list(others(2, 100)) == []
    with pytest.raises(ChildFailed, match="status 3"):
        run_script(str(broken), PROBE, {})
    with pytest.raises(ChildFailed, match="nowhere"):
        run_script("/nowhere/python3", PROBE, {})


def test_free_threaded_interpreters_are_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(python: str, threads: int, times: int, parts: str) -> dict[str, Any]:
        free, minor = python.endswith("t"), int(python.removesuffix("t").rpartition(".")[2])
        if parts == "others":
            asked.append(python)
        return {
            "about": {"minor": [3, minor], "implementation": "cpython", "free_threaded": free, "path": python},
        }

    paths = [Path(name) for name in ("python3.8", "python3.9", "python3.13", "python3.13t", "python3.14t", "python3.9")]
    monkeypatch.setattr(interpreters, "_candidates", lambda: iter(paths))
    monkeypatch.setattr(interpreters, "_ask", ask)
    assert len(list(others(2, 100))) == 5
    assert asked == ["python3.13t", "python3.14t", "python3.8", "python3.9", "python3.13"]


def test_the_probe_is_a_program_of_its_own() -> None:
    found = subprocess.run(
        [sys.executable, "-I", str(PROBE)],
        input='{"threads": 1, "times": 1, "parts": "ask"}',
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert '"implementation": "cpython"' in found.stdout


def test_the_lesson_holds_and_measures_both_ways() -> None:
    findings = held(LESSON, {"threads": 20, "times": 1500, "others": "no"})
    assert findings.holds
    measured = findings.measured
    assert measured["with_a_pause_lost"] > 0 == measured["with_a_pause_locked_lost"]
    assert measured["with_a_call_lost"] > 0 == measured["with_a_call_locked_lost"]
    assert measured["references_off"] == measured["appends_missing"] == 0
    assert measured["once_of"] == 20
    assert list(measured["interpreters"]) == [measured["version"]]


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 1_000_000), ("threads", 0), ("times", -1), ("others", "maybe")]
)
def test_wrong_parameters_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=name):
        run_lesson(LESSON, {name: value})
