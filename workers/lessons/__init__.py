"""The lessons: what a course on concurrency claims, run for real and measured.

A lesson is a folder here and a line in ``LESSONS``. Its ``lesson.toml`` states the claim, names the place where the
service meets the same question, and has the parameters. Its ``lesson.py`` runs the wrong way and the right way,
measures both, and decides whether the claim held here. Its ``zh.toml`` has the Chinese of its tables and figures.
``common`` has what all lessons share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.lessons.common.lesson import Lesson

LESSONS: dict[str, str] = {
    "tcp": "workers.lessons.tcp.lesson:LESSON",
    "mutex": "workers.lessons.mutex.lesson:LESSON",
    "spawn": "workers.lessons.spawn.lesson:LESSON",
    "threads": "workers.lessons.threads.lesson:LESSON",
    "gil": "workers.lessons.gil.lesson:LESSON",
    "cpu-io": "workers.lessons.cpu_io.lesson:LESSON",
    "deadlock": "workers.lessons.deadlock.lesson:LESSON",
    "semaphore": "workers.lessons.semaphore.lesson:LESSON",
    "event": "workers.lessons.event.lesson:LESSON",
    "pools": "workers.lessons.pools.lesson:LESSON",
    "coroutines": "workers.lessons.coroutines.lesson:LESSON",
    "hybrid": "workers.lessons.hybrid.lesson:LESSON",
    "lock-kinds": "workers.lessons.lock_kinds.lesson:LESSON",
    "worker-classes": "workers.lessons.worker_classes.lesson:LESSON",
}


def load(name: str) -> Lesson:
    """The lesson with this name. Raises ``KeyError`` if there is none."""
    module_name, _, attribute = LESSONS[name].partition(":")
    lesson: Lesson = getattr(importlib.import_module(module_name), attribute)
    return lesson
