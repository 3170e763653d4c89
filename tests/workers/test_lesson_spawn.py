"""The lesson on what starting and keeping costs, and on the main guard that only spawning needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.common.processes import MOST_PROCESSES, ProcessGroup, call_in_child
from workers.lessons.spawn.costs import arrive
from workers.lessons.spawn.lesson import FORKED, GREENLET, SPAWNED, THREAD
from workers.lessons.spawn.main_guard import STARTS, Start, source, try_start

LESSON = load("spawn")

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]

COSTS = "workers.lessons.spawn.costs"


def test_without_the_main_guard_a_spawned_process_runs_the_file_again_and_never_works(tmp_path: Path) -> None:
    outcome = try_start(STARTS[0], tmp_path)
    assert not STARTS[0].guarded
    assert (outcome.runs, outcome.worked, outcome.error) == (2, False, "RuntimeError")


@pytest.mark.parametrize(("start", "runs"), [(STARTS[1], 2), (STARTS[2], 1), (STARTS[3], 1)])
def test_with_the_guard_or_without_spawning_the_work_is_done(start: Start, runs: int, tmp_path: Path) -> None:
    outcome = try_start(start, tmp_path)
    assert (outcome.runs, outcome.worked, outcome.error) == (runs, True, None)


def test_the_programs_differ_in_the_guard_alone() -> None:
    without, with_guard = source(STARTS[0]), source(STARTS[1])
    assert "__main__" not in without
    assert with_guard.replace('if __name__ == "__main__":\n', "").replace("    worker", "worker") == without


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_has_memory_of_its_own_and_all_were_alive_at_once(method: str) -> None:
    cost = call_in_child(f"{COSTS}:processes", 3, 1, method)
    assert cost["alive"] == 3
    assert cost["one_kib"] > 100
    assert cost["one_us"] > 0


@pytest.mark.parametrize(("kind", "gevent"), [("threads", False), ("greenlets", True)])
def test_a_hundred_threads_or_greenlets_cost_less_memory_than_one_process(kind: str, gevent: bool) -> None:
    cost = call_in_child(f"{COSTS}:{kind}", 100, 2, gevent=gevent)
    assert cost["alive"] == 100
    assert 0 < cost["one_kib"] * 100 < 5_000


def test_more_processes_than_a_lesson_may_have_are_refused() -> None:
    with ProcessGroup("fork") as group:
        over = group.context.Event()
        arrived = group.context.Semaphore(0)
        for _ in range(MOST_PROCESSES):
            group.start(arrive, arrived, over)
        with pytest.raises(ValueError, match=str(MOST_PROCESSES)):
            group.start(arrive, arrived, over)
        over.set()
        assert group.join(20)


def test_the_lesson_orders_the_memory_and_measures_all_four() -> None:
    findings = run_lesson(LESSON, {"most": 100, "processes": 5, "spawned": 2})
    measured = findings.measured
    assert all(measured[f"{kind}_start_us"] > 0 for kind in ("process_spawned", "process_forked", "thread", "greenlet"))
    assert measured["process_spawned_keep_kib"] > measured["process_forked_keep_kib"] > measured["thread_keep_kib"]
    assert measured["thread_keep_kib"] > measured["greenlet_keep_kib"] > 0
    assert measured["spawned_process_unguarded_worked"] is False
    assert measured["thread_unguarded_worked"] is True
    assert [row[0] for row in findings.tables[0].rows] == [SPAWNED, FORKED, *[THREAD] * 2, *[GREENLET] * 2]


@pytest.mark.parametrize(
    ("name", "value"), [("most", 1_000_000), ("most", 0), ("processes", 51), ("spawned", 21), ("processes", "many")]
)
def test_wrong_parameters_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=name):
        run_lesson(LESSON, {name: value})
