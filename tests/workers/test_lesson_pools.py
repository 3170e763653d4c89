"""The lesson on pools: bounded and reused, silent about failures, broken by a dead worker, and not slower."""

from __future__ import annotations

from typing import Any

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import LessonResult, run_lesson
from workers.lessons.common.processes import call_in_child

LESSON = load("pools")

pytestmark = [pytest.mark.servers]

SMALL = {"workers": 2, "tasks": 9, "task_ms": 5, "threads": 50, "processes": 16, "tries": 2}
KINDS = ("threads", "processes")


@pytest.mark.usefixtures("nothing_left_running")
def test_without_a_pool_there_are_as_many_threads_and_processes_as_tasks(findings: LessonResult) -> None:
    assert findings.measured["threads_each_alive"] == 50
    assert findings.measured["processes_each_alive"] == 16


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_never_has_more_workers_than_it_was_given(findings: LessonResult, kind: str) -> None:
    measured = findings.measured
    assert measured[f"{kind}_workers_when_made"] == 0
    assert measured[f"{kind}_workers_used"] <= 2
    assert measured[f"{kind}_most_at_once"] <= 2
    assert measured[f"{kind}_pool_alive"] <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_is_done_and_called_back_in_the_process_that_submitted_it(findings: LessonResult, kind: str) -> None:
    assert findings.measured[f"{kind}_callbacks"] == 9
    assert findings.measured[f"{kind}_callbacks_here"] is True


def test_a_task_that_fails_in_a_pool_says_nothing_unless_it_is_asked(findings: LessonResult) -> None:
    assert findings.measured["thread_lines"] > 0
    assert findings.measured["pool_lines"] == 0
    assert findings.measured["pool_asked"] == "ValueError"


@pytest.mark.parametrize("kind", KINDS)
def test_the_pool_outlives_a_task_that_fails(findings: LessonResult, kind: str) -> None:
    assert findings.measured[f"{kind}_failed"] == 1


def test_one_dead_worker_takes_all_tasks_of_a_process_pool_with_it(findings: LessonResult) -> None:
    assert findings.measured["worker_died_failed"] > 1
    assert findings.measured["worker_died_refused"] is True


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_shutdown_every_task_is_done_or_cancelled_and_a_new_one_refused(
    findings: LessonResult, kind: str
) -> None:
    done, cancelled = (findings.measured[f"{kind}_shutdown_{what}"] for what in ("done", "cancelled"))
    assert done + cancelled == 9
    assert done >= 1 <= cancelled
    assert findings.measured[f"{kind}_shutdown_refused"] is True


def test_the_claim_holds(findings: LessonResult) -> None:
    assert findings.holds


@pytest.mark.usefixtures("nothing_left_running")
def test_it_is_right_with_spawned_processes_too() -> None:
    used = call_in_child("workers.lessons.pools.behaviour:use", "processes", 2, 9, 5, "spawn")
    assert used["callbacks"] == 9
    assert len({who for who, *_ in used["spans"]}) <= 2
    held = call_in_child("workers.lessons.pools.costs:hold", "processes", 6, 2, "spawn")
    assert held["alive"] == 2


@pytest.mark.parametrize(
    "given", [{"workers": 0}, {"threads": 1_000_000}, {"processes": 51}, {"tasks": -1}, {"start_method": ""}]
)
def test_wrong_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)
