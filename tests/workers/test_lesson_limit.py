"""Every lesson ends when its time is over, in the middle of whatever it does, and leaves nothing running."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.lessons import LESSONS, load
from workers.lessons.common.lesson import TimeLimit, run_lesson

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]


@pytest.mark.parametrize("name", LESSONS)
def test_past_its_time_a_lesson_is_ended_and_nothing_is_left(name: str) -> None:
    with pytest.raises(TimeLimit, match=name):
        run_lesson(replace(load(name), limit_s=0.15))
