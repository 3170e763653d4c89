"""What the lessons' tests share: after each lesson nothing may be left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import pytest
from held import held

from workers.lessons.common.lesson import LessonResult

# Python's own helper for semaphores of spawned processes: started with the first one, ends with this process.
_PYTHONS_OWN = "multiprocessing.resource_tracker"
_PATIENCE_S = 60.0


def _command(child: psutil.Process, before: set[psutil.Process]) -> str:
    """What a process runs; nothing if it has ended, or belongs to a server that was there before: one that other tests
    share may start and end processes of its own."""
    try:
        return "" if before & set(child.parents()) else " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _left(before: set[psutil.Process]) -> list[str]:
    """What runs that did not run before."""
    commands = [_command(child, before) for child in set(psutil.Process().children(recursive=True)) - before]
    return [command for command in commands if command and _PYTHONS_OWN not in command]


@pytest.fixture
def nothing_left_running() -> Iterator[None]:
    """No child process and no thread more than before, as soon as those that were told to end have ended."""
    threads, before = threading.active_count(), set(psutil.Process().children(recursive=True))
    yield
    deadline = time.monotonic() + _PATIENCE_S
    while (left := _left(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> LessonResult:
    """What a module's ``LESSON`` finds with the module's ``SMALL`` settings, once for all its tests."""
    threads = threading.active_count()
    found = held(request.module.LESSON, request.module.SMALL)
    assert threading.active_count() == threads
    return found
