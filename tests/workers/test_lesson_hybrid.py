"""The lesson on hybrids: counted, who waits at once and who computes at once; all three together have no more of it."""

from __future__ import annotations

from typing import Any

import pytest

from workers.lessons import load
from workers.lessons.common.computing import gil_enabled, usable_cores
from workers.lessons.common.execution import Work
from workers.lessons.common.lesson import LessonResult, run_lesson
from workers.lessons.common.processes import call_in_child
from workers.lessons.hybrid.lesson import shapes_of

LESSON = load("hybrid")

pytestmark = [pytest.mark.servers]

SMALL = {"jobs": 12, "work_ms": 8, "tries": 2}
PAIRS = ("processes_x_threads", "processes_x_greenlets")


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("jobs", [12, 13, 100])
def test_every_shape_but_the_first_two_has_a_place_for_every_job(processes: int, jobs: int) -> None:
    for name, (several, threads, greenlets) in shapes_of(processes, jobs).items():
        if name not in ("one after another", "processes"):
            assert several * threads * greenlets >= jobs


@pytest.mark.usefixtures("nothing_left_running")
def test_processes_alone_wait_for_no_more_jobs_than_they_are(findings: LessonResult) -> None:
    assert findings.measured["one_after_another_waiting_at_once"] == 1
    assert findings.measured["processes_waiting_at_once"] <= 2


@pytest.mark.parametrize("shape", ["threads", "greenlets", *PAIRS, "all_three"])
def test_threads_and_greenlets_wait_for_more(findings: LessonResult, shape: str) -> None:
    assert 2 < findings.measured[f"{shape}_waiting_at_once"] <= 12


@pytest.mark.skipif(not gil_enabled(), reason="without the GIL threads do compute at once")
@pytest.mark.parametrize("shape", ["one_after_another", "threads", "greenlets"])
def test_in_one_process_one_computes_at_a_time(findings: LessonResult, shape: str) -> None:
    assert findings.measured[f"{shape}_computing_at_once"] == 1


@pytest.mark.skipif(not gil_enabled(), reason="without the GIL threads do compute at once")
def test_all_three_compute_no_more_at_once_than_there_are_processes(findings: LessonResult) -> None:
    assert findings.measured["all_three_computing_at_once"] <= 2
    if usable_cores() > 1:
        assert max(findings.measured[f"{shape}_computing_at_once"] for shape in ("processes", *PAIRS)) == 2


def test_the_claim_holds(findings: LessonResult) -> None:
    assert findings.holds


@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 2, 3)])
def test_every_job_is_done_with_spawned_processes_too(shape: tuple[int, int, int]) -> None:
    work = {"mixed": Work(12, wait_ms=1, steps=100)}
    found = call_in_child("workers.lessons.common.execution:measure", shape, work, 1, "spawn")["mixed"][0]
    assert {number for number, *_ in found["done"]} == set(range(12))


@pytest.mark.parametrize("given", [{"processes": 1}, {"jobs": 1_000_000}, {"work_ms": 0}, {"start_method": "fork "}])
def test_wrong_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)
