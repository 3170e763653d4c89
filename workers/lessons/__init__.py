"""The lessons: what a course on concurrency claims, run for real and measured.

A lesson is a folder here and a name in ``LESSONS``. Its ``lesson.toml`` states the claim, names the place where the
service meets the same question, and has the parameters. The function ``run`` in its ``lesson.py`` carries out the wrong
way and the right way, measures both, and decides whether the claim held here. Its ``zh.toml`` has the Chinese of its
words, tables and figures. Its story is a page of ``docs/lessons``, to which ``stories`` is a link. ``common`` has what
all lessons share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.lessons.common.lesson import Lesson

LESSONS = (
    "tcp", "mutex", "spawn", "threads", "gil", "cpu-io", "deadlock", "semaphore", "event", "pools", "coroutines",
    "hybrid", "lock-kinds", "worker-classes",
)  # fmt: skip


def load(name: str) -> Lesson:
    """The lesson with this name. Raises ``ModuleNotFoundError`` if there is none."""
    from workers.lessons.common.lesson import lesson_of

    return lesson_of(importlib.import_module(f"workers.lessons.{name.replace('-', '_')}.lesson"))
