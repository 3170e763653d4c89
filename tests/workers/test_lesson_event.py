"""The lesson on events: nobody goes before it is set, everybody goes then, and nobody had to look."""

from __future__ import annotations

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.event.lesson import cross

LESSON = load("event")

pytestmark = pytest.mark.usefixtures("nothing_left_running")


def test_whoever_looks_again_and_again_looks_in_vain() -> None:
    _, _, _, looks = cross(4, 0.05, 0.001)
    assert looks > 4


@pytest.mark.parametrize("poll_s", [None, 0.005])
def test_all_go_after_green_and_nobody_before(poll_s: float | None) -> None:
    turned, lanes, before, _ = cross(6, 0.05, poll_s)
    assert before == 0
    assert len(lanes) == 6
    assert all(spans[0].end_s >= turned for spans in lanes.values())


def test_who_waits_for_the_event_never_looks() -> None:
    _, _, _, looks = cross(6, 0.03, None)
    assert looks == 0


def test_the_claim_holds_and_says_so_in_numbers() -> None:
    findings = run_lesson(LESSON, {"cars": 5, "red_ms": 60})
    assert findings.holds
    assert findings.measured["event_went_before_green"] == findings.measured["event_looks"] == 0
    assert findings.measured["looking_every_1_ms_looks"] > 0


@pytest.mark.parametrize("given", [{"cars": 0}, {"cars": 100_000}, {"red_ms": 0}, {"colour": 1}])
def test_wrong_parameters_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)
