"""Lessons whose claim is about time, carried out beside whatever else the machine does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.lessons.common.lesson import Lesson, LessonResult, run_lesson

TRIES = 3


def held(lesson: Lesson, given: Mapping[str, Any]) -> LessonResult:
    """The first findings that hold, of a few tries; else the last. What is exact is asserted of these like of any."""
    for _ in range(TRIES):
        findings = run_lesson(lesson, given)
        if findings.holds:
            break
    return findings
