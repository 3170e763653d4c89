"""Every lesson ends when its time is over, in the middle of whatever it does, and leaves nothing running."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.lessons import LESSONS, load
from workers.lessons.common.lesson import LessonResult, TimeLimit, run_lesson

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]


@pytest.mark.parametrize("name", LESSONS)
def test_past_its_time_a_lesson_is_ended_and_nothing_is_left(name: str) -> None:
    with pytest.raises(TimeLimit, match=name):
        run_lesson(replace(load(name), limit_s=0.15))


class _Slow:
    """Its finalizer runs until the time limit is raised there, and the interpreter drops that exception."""

    def __del__(self) -> None:
        while True:
            pass


def test_a_limit_that_falls_into_a_finalizer_ends_the_lesson_all_the_same() -> None:
    def run(*_: object) -> LessonResult:
        _Slow()
        while True:
            pass

    with pytest.raises(TimeLimit, match="mutex"):
        run_lesson(replace(load("mutex"), limit_s=0.05, run=run))
