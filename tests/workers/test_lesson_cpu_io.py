"""The lesson on computing and waiting: who did it at the same moment, counted; and a clock stopped too early."""

from __future__ import annotations

from typing import Any

import pytest

from workers.lessons import load
from workers.lessons.common.computing import Piece, compute, computing_at_once, gil_enabled, most_at_once, usable_cores
from workers.lessons.common.execution import Shape, Work
from workers.lessons.common.lesson import LessonResult, run_lesson
from workers.lessons.common.processes import call_in_child
from workers.lessons.cpu_io.lesson import MODELS

LESSON = load("cpu-io")

SMALL = {"tasks": 4, "work_ms": 20, "tries": 2}


def test_pieces_that_were_on_a_core_and_overlap_were_computed_at_once() -> None:
    assert computing_at_once([Piece(0.0, 1.0, 1.0), Piece(0.5, 1.5, 1.0), Piece(0.6, 1.6, 0.99)]) == 3


def test_who_waited_for_the_core_or_the_gil_did_not_compute_at_once() -> None:
    assert computing_at_once([Piece(0.0, 1.0, 1.0), Piece(0.0, 2.0, 1.0)]) == 1


def test_pieces_that_only_touch_were_one_after_the_other() -> None:
    assert computing_at_once([Piece(0.0, 1.0, 1.0), Piece(0.98, 2.0, 1.02)]) == 1
    assert most_at_once([(0.0, 1.0), (1.0, 2.0)]) == 1


def test_all_steps_are_computed_in_pieces_one_after_the_other() -> None:
    pieces = compute(20_001)
    assert len(pieces) == 3
    assert computing_at_once(pieces) <= 1


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_one_after_another_nothing_overlaps(findings: LessonResult) -> None:
    at_once = {key: value for key, value in findings.measured.items() if key.endswith("one_after_another_at_once")}
    assert at_once
    assert set(at_once.values()) == {1}


@pytest.mark.servers
@pytest.mark.parametrize("model", MODELS[1:])
def test_waiting_overlaps_in_every_model(findings: LessonResult, model: str) -> None:
    assert _widest(findings, "waiting", model) > 1


@pytest.mark.servers
@pytest.mark.skipif(not gil_enabled(), reason="without the GIL threads do compute at once")
@pytest.mark.parametrize("model", ["threads", "greenlets"])
def test_of_threads_and_greenlets_one_computes_at_a_time(findings: LessonResult, model: str) -> None:
    assert _widest(findings, "computing", model) == 1


@pytest.mark.servers
@pytest.mark.skipif(usable_cores() < 2, reason="with one core nothing is computed at once")
def test_processes_compute_at_once_and_on_one_core_they_do_not(findings: LessonResult) -> None:
    assert _widest(findings, "computing", "processes") > 1
    assert findings.measured.get("computing_one_core_processes_at_once", 1) == 1


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_clock_stopped_without_a_join_times_the_starting(findings: LessonResult, kind: str) -> None:
    assert findings.measured[f"not_joined_{kind}_finished"] < SMALL["tasks"]
    assert findings.measured[f"joined_{kind}_finished"] == SMALL["tasks"]
    assert findings.measured[f"not_joined_{kind}_ms"] < findings.measured[f"joined_{kind}_ms"]


@pytest.mark.servers
def test_the_claim_holds(findings: LessonResult) -> None:
    assert findings.holds


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_it_is_right_with_spawned_processes_too() -> None:
    work = {"waiting": Work(SMALL["tasks"], wait_ms=300)}
    found = call_in_child("workers.lessons.common.execution:measure", Shape(SMALL["tasks"]), work, 1, "spawn")
    assert found["waiting"][0]["waiting_at_once"] > 1


@pytest.mark.parametrize("given", [{"tasks": 0}, {"tasks": 1_000_000}, {"work_ms": -1}, {"start_method": "thread"}])
def test_wrong_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)


def _widest(findings: LessonResult, work: str, model: str) -> int:
    """How many did it at once, on as many cores as there are."""
    where = "all_cores" if usable_cores() > 1 else "one_core"
    found: int = findings.measured[f"{work}_{where}_{model}_at_once"]
    return found
