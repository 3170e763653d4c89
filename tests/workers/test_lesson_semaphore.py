"""The lesson on semaphores: never more inside than there are places, and a release too many is noticed or believed."""

from __future__ import annotations

import threading

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.semaphore.lesson import one_release_too_many, visit

LESSON = load("semaphore")

pytestmark = pytest.mark.usefixtures("nothing_left_running")


def test_without_a_door_more_are_inside_than_there_are_places() -> None:
    most, _ = visit(8, 0.05, None)
    assert most > 3


@pytest.mark.parametrize("places", [1, 3])
def test_never_more_inside_than_there_are_places(places: int) -> None:
    most, lanes = visit(8, 0.01, threading.Semaphore(places))
    assert most <= places
    assert len(lanes) == 8
    for waited, was_inside in lanes.values():
        assert waited.start_s <= waited.end_s == was_inside.start_s < was_inside.end_s


def test_one_release_too_many_lets_one_more_in_and_nobody_notices() -> None:
    assert one_release_too_many(threading.Semaphore(3), 3) == ("nothing was noticed", 4)


def test_a_bounded_semaphore_notices_it_at_once() -> None:
    assert one_release_too_many(threading.BoundedSemaphore(3), 3) == ("ValueError, at once", 3)


def test_the_claim_holds_and_says_so_in_numbers() -> None:
    findings = run_lesson(LESSON, {"places": 2, "visitors": 6, "stay_ms": 30})
    assert findings.holds
    assert findings.measured["most_inside_with"] <= 2 < findings.measured["most_inside_without"]
    assert findings.measured["plain_lets_in_after_extra_release"] == 3
    assert findings.measured["bounded_lets_in_after_extra_release"] == 2


@pytest.mark.parametrize("given", [{"places": 0}, {"visitors": 1_000_000}, {"stay_ms": -1}, {"seats": 5}])
def test_wrong_parameters_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)
