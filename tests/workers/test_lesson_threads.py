"""The lesson on threads: begun, joined, shared; and what goes wrong when one forgets which is which."""

from __future__ import annotations

import os
import threading

import pytest
from held import held

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.threads.sharing import BY_THE_FILE, by_processes, by_threads, stock
from workers.lessons.threads.starting import (
    by_class,
    by_function,
    by_mistake,
    fail_in_future,
    fail_in_thread,
    go_on,
)

LESSON = load("threads")

pytestmark = pytest.mark.usefixtures("nothing_left_running")


def test_run_in_place_of_start_is_no_thread() -> None:
    place = by_mistake()
    assert place.thread == threading.get_ident()
    assert not place.caller_went_on


def test_both_ways_to_begin_run_beside_their_caller_in_the_same_process() -> None:
    for place in (by_function(), by_class()):
        assert place.thread != threading.get_ident()
        assert place.caller_went_on
        assert place.process == os.getpid()


def test_only_after_join_is_everything_done() -> None:
    assert go_on(5, 0.1, join=False)[0] < 5
    assert go_on(5, 0.02, join=True)[0] == 5


def test_join_does_not_tell_of_an_exception_and_a_future_does() -> None:
    hook = threading.excepthook
    assert fail_in_thread() == (False, True)
    assert fail_in_future() == (True, False)
    assert threading.excepthook is hook


def test_threads_take_from_the_same_number() -> None:
    takers, alive = by_threads(5, 50)
    assert takers.main_has == 45
    assert takers.found == [50, 49, 48, 47, 46]
    assert (takers.processes, takers.threads) == (1, 5)
    assert alive >= 6
    assert stock.left == BY_THE_FILE


@pytest.mark.servers
@pytest.mark.parametrize(("method", "found"), [("fork", 50), ("spawn", BY_THE_FILE)])
def test_processes_take_from_numbers_of_their_own(method: str, found: int) -> None:
    takers = by_processes(method, 3, 50)
    assert takers.main_has == 50
    assert takers.found == [found]
    assert takers.processes == 3
    assert os.getpid() not in {each.process for each in takers.taken}
    assert stock.left == BY_THE_FILE


@pytest.mark.servers
def test_the_lesson_holds_and_measures_both_ways() -> None:
    findings = held(LESSON, {"threads": 4, "processes": 2, "tickets": 20, "work_ms": 60})
    assert findings.holds
    measured = findings.measured
    assert measured["found_without_join"] < measured["found_with_join"] == 4
    assert measured["main_has_after_threads"] == 16
    assert measured["main_has_after_forked"] == measured["main_has_after_spawned"] == 20
    assert measured["run_by_mistake_in_own_thread"] is False
    assert (measured["join_raised"], measured["future_raised"]) == (False, True)
    assert measured["alive_meanwhile"] - measured["alive_before"] == 4
    assert measured["alive_after"] == measured["alive_before"]


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 1_000_000), ("threads", 0), ("processes", 0), ("tickets", -1), ("work_ms", "long")]
)
def test_wrong_parameters_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=name):
        run_lesson(LESSON, {name: value})
