"""The lesson on gunicorn's worker classes: the real office sells every ticket once, and the lock's line is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from held import held

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.common.processes import ChildFailed
from workers.lessons.common.resources import process_tree
from workers.lessons.worker_classes.office import running_office, sell

LESSON = load("worker-classes")

pytestmark = pytest.mark.usefixtures("nothing_left_running")

GTHREAD = {"worker": "gthread", "processes": 1, "threads": 4}


@pytest.mark.servers
def test_the_office_sells_once_and_holders_of_one_lock_never_overlap(tmp_path: Path) -> None:
    with running_office(GTHREAD, "io", 10, tmp_path / "office") as running:
        one_event = sell(running, ["show"] * 4, 3)
        own_events = sell(running, [f"show-{number}" for number in range(4)], 3)
        processes = process_tree(running.pid)
    assert one_event.right
    assert sorted(one_event.tickets) == [("show", number) for number in range(1, 13)]
    # The sum of times that exclude each other fits into the whole.
    assert sum(one_event.holds_s) <= one_event.seconds
    assert own_events.right
    assert len(own_events.tickets) == 12
    assert len(processes) == 2
    assert not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.servers
def test_a_purchase_that_is_refused_is_reported_and_not_counted(tmp_path: Path) -> None:
    with running_office(GTHREAD, "io", 0, tmp_path / "office") as running:
        sale = sell(running, ["show", "NOT-AN-ID"], 1)
    assert not sale.right
    assert len(sale.problems) == 1
    assert sale.tickets == [("show", 1)]


@pytest.mark.servers
def test_an_office_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="LASTSEAT_THINK"), running_office(GTHREAD, "sleep", 0, tmp_path / "office"):
        pass


@pytest.mark.servers
def test_the_lesson_holds() -> None:
    findings = held(LESSON, {"buyers": 4, "purchases": 1, "threads": 4, "think_ms": 20})
    measured = findings.measured
    sold = {key: value for key, value in measured.items() if key.endswith("_sold")}
    assert len(sold) == 16
    assert set(sold.values()) == {4}
    assert all(value for key, value in measured.items() if key.endswith("_right"))
    assert all(value <= 1.01 for key, value in measured.items() if key.endswith("one_event_at_once"))
    assert findings.holds


@pytest.mark.servers
def test_ctrl_c_leaves_no_gunicorn_behind() -> None:
    command = [sys.executable, "-m", "workers.lessons.command", "worker-classes"]
    lesson = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = psutil.Process(lesson.pid)
    deadline = time.monotonic() + 15
    below: list[psutil.Process] = []
    while len(below) < 2 and time.monotonic() < deadline:
        below = started.children(recursive=True)
        time.sleep(0.02)
    os.kill(lesson.pid, signal.SIGINT)
    assert lesson.wait(20) != 0
    assert len(below) == 2
    assert not _alive(below)


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


@pytest.mark.parametrize("wrong", [{"buyers": 1}, {"threads": 33}, {"think_ms": 1}, {"purchases": 0}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LESSON.settings(wrong)


def test_a_run_that_would_last_too_long_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="fewer or shorter"):
        run_lesson(LESSON, {"buyers": 32, "purchases": 50, "think_ms": 200})
