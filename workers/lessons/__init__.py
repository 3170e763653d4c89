"""The lessons: what a course on concurrency claims, run for real and measured.

A lesson is one file and one line here. Each says its claim, runs the wrong way and the right way, measures, says
whether the claim held here, and where the service meets the same thing. ``form`` has the shape that all share.
"""

from __future__ import annotations

import importlib

from workers.lessons.form import Lesson

LESSONS: dict[str, str] = {
    "tcp": "workers.lessons.tcp:LESSON",
    "mutex": "workers.lessons.mutex:LESSON",
    "spawn": "workers.lessons.spawn:LESSON",
    "threads": "workers.lessons.threads:LESSON",
    "gil": "workers.lessons.gil:LESSON",
    "cpu-io": "workers.lessons.cpu_io:LESSON",
    "deadlock": "workers.lessons.deadlock:LESSON",
    "semaphore": "workers.lessons.semaphore:LESSON",
    "event": "workers.lessons.event:LESSON",
    "pools": "workers.lessons.pools:LESSON",
    "coroutines": "workers.lessons.coroutines:LESSON",
    "hybrid": "workers.lessons.hybrid:LESSON",
    "lock-kinds": "workers.lessons.lock_kinds:LESSON",
    "worker-classes": "workers.lessons.worker_classes:LESSON",
}


def load(name: str) -> Lesson:
    """The lesson of that name; ``KeyError`` where there is none."""
    module_name, _, attribute = LESSONS[name].partition(":")
    lesson: Lesson = getattr(importlib.import_module(module_name), attribute)
    return lesson
