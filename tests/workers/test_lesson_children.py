"""The processes that lessons start end with them, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from workers.lessons.common.processes import MOST_PROCESSES, ChildFailed, ProcessGroup, call_in_child

HERE = "tests.workers.test_lesson_children"


def double(number: int) -> int:
    print("said beside the result")
    return 2 * number


def fail() -> None:
    raise RuntimeError("as it was meant to")


def start_one_more_and_hang(path: str) -> None:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {grandchild.pid}")
    time.sleep(600)


def sleeps_by_gevent() -> list[str]:
    return [time.sleep.__module__, str("gevent" in sys.modules)]


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_a_child_answers_whatever_else_it_prints() -> None:
    assert call_in_child(f"{HERE}:double", 21) == 42


@pytest.mark.servers
def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(ChildFailed, match="as it was meant to"):
        call_in_child(f"{HERE}:fail")


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_a_child_past_its_time_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    noted = tmp_path / "pids"
    with pytest.raises(ChildFailed, match="did not end within 4 s"):
        call_in_child(f"{HERE}:start_one_more_and_hang", str(noted), timeout_s=4)
    for pid in map(int, noted.read_text().split()):
        assert _gone(pid)


@pytest.mark.servers
def test_a_child_is_patched_where_it_is_wanted_and_only_there() -> None:
    assert call_in_child(f"{HERE}:sleeps_by_gevent", gevent=True) == ["gevent.hub", "True"]
    assert call_in_child(f"{HERE}:sleeps_by_gevent") == ["time", "False"]
    assert time.sleep.__module__ == "time"


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_group_kills_the_processes_that_are_left_when_its_block_ends(method: str) -> None:
    with ProcessGroup(method) as group:
        pids = [group.start(time.sleep, lasts_s).pid for lasts_s in (600, 0)]
        assert not group.join(0.01)
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_a_group_has_at_most_fifty_processes_alive() -> None:
    with ProcessGroup("fork") as group:
        for _ in range(MOST_PROCESSES):
            group.start(time.sleep, 600)
        with pytest.raises(ValueError, match=f"at most {MOST_PROCESSES} processes"):
            group.start(time.sleep, 600)


@pytest.mark.servers
@pytest.mark.parametrize("started", ["a group of processes", "a fresh interpreter"])
def test_an_interrupted_lesson_leaves_no_process_behind(started: str) -> None:
    with subprocess.Popen([sys.executable, "-m", HERE, started], stderr=subprocess.DEVNULL) as running:
        family: list[psutil.Process] = []
        while not family:
            time.sleep(0.01)
            family = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) != 0
    assert all(_gone(member.pid) for member in family)


def _gone(pid: int) -> bool:
    """Within a moment: a killed process is still listed until whoever inherited it has looked."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def hang() -> None:
    time.sleep(600)


if __name__ == "__main__":
    # A lesson in a process of its own, for somebody to interrupt.
    if sys.argv[1] == "a group of processes":
        with ProcessGroup("fork") as group:
            group.start(hang)
            hang()
    else:
        call_in_child(f"{HERE}:hang")
