"""Locks that look like locks: each is shown to let somebody in, or nobody, and beside it what the service does."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from service.app import create_app
from service.errors import Problem, RefusedToStart
from service.guards.file import FileGuard
from service.runtime.files import check_locks_exclude
from service.runtime.host_lock import LockFile
from service.settings import Settings
from service.stores import open_store


def run(script: str, *arguments: object) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


# -- built before the fork --------------------------------------------------------------------------------------------

FORKED = """
import os, sys
from filelock import FileLock
from pathlib import Path
from service.guards.file import FileGuard
from service.runtime.host_lock import LockFile
from service.settings import Settings
from service.stores import open_store

settings = Settings(data=Path(sys.argv[2]))
lock = FileLock(settings.data / "lock")
store = open_store(settings)
(settings.data / "locks").mkdir()
LockFile(settings.data / "locks" / "show.lock").make(0)
if sys.argv[1] == "guard in the parent":
    guard = FileGuard(settings, store)
    with guard.exclusive("show", 1e9):
        pass
if os.fork() == 0:
    try:
        if sys.argv[1] == "lock in the parent":
            lock.acquire(timeout=1)
        elif sys.argv[1] == "guard in the parent":
            with guard.exclusive("show", 1e9):
                pass
        else:
            with FileGuard(settings, store).exclusive("show", 1e9):
                pass
        print("inside", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("built", ["lock in the parent", "guard in the parent"])
def test_a_file_lock_built_before_the_fork_is_dead_in_the_child(tmp_path: Path, built: str) -> None:
    """The negative control of refusing ``--preload``: every purchase would fail."""
    assert "inherited across fork" in run(FORKED, built, tmp_path)


def test_a_guard_built_after_the_fork_is_alive(tmp_path: Path) -> None:
    assert run(FORKED, "guard in the child", tmp_path) == "inside"


# -- imported before gevent's patch -----------------------------------------------------------------------------------

GREENLETS = """
import sys
if sys.argv[1] == "before":
    import filelock
from gevent import monkey
monkey.patch_all()
import filelock, gevent
lock, inside, most = filelock.FileLock(sys.argv[2]), 0, 0

def buyer():
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
        gevent.sleep(0.001)
        inside -= 1

gevent.joinall([gevent.spawn(buyer) for _ in range(8)])
print(most)
"""


@pytest.mark.parametrize(("imported", "inside"), [("before", "8"), ("after", "1")])
def test_filelock_imported_before_gevents_patch_lets_every_greenlet_in(
    tmp_path: Path, imported: str, inside: str
) -> None:
    """The negative control of refusing to start so; and beside it the same lock, imported in time."""
    assert run(GREENLETS, imported, tmp_path / "lock") == inside


# -- shared by all threads --------------------------------------------------------------------------------------------


def in_another_thread(enter: object) -> bool:
    """Whether another thread gets in while this one is."""
    got_in: list[bool] = []

    def intrude() -> None:
        try:
            enter()  # type: ignore[operator]
            got_in.append(True)
        except (Timeout, Problem):
            got_in.append(False)

    intruder = threading.Thread(target=intrude)
    intruder.start()
    intruder.join()
    return got_in == [True]


def test_a_file_lock_that_is_not_thread_local_excludes_nobody_inside_one_process(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", thread_local=False)
    with lock:
        assert in_another_thread(lambda: lock.acquire(blocking=False))


def guard_of(data: Path) -> FileGuard:
    """With the lock file of the event ``show``, as an office has made it."""
    settings = Settings(data=data)
    guard = FileGuard(settings, open_store(settings))
    LockFile(data / "locks" / "show.lock").make(0)
    return guard


def test_the_file_guard_excludes_the_threads_of_one_process(tmp_path: Path) -> None:
    guard = guard_of(tmp_path)

    def enter() -> None:
        with guard.exclusive("show", time.monotonic()):
            pass

    with guard.exclusive("show", time.monotonic() + 30):
        enter()  # the holder itself may enter again
        assert not in_another_thread(enter)
    assert in_another_thread(enter)


def test_the_lock_file_stays_and_stays_the_same(tmp_path: Path) -> None:
    """Who unlinks a lock file lets the next one lock another file of the same name."""
    guard = guard_of(tmp_path)
    numbers = set()
    for _ in range(3):
        with guard.exclusive("show", time.monotonic() + 30):
            numbers.add((tmp_path / "locks" / "show.lock").stat().st_ino)
        numbers.add((tmp_path / "locks" / "show.lock").stat().st_ino)
    assert len(numbers) == 1


# -- granted twice by the file system ---------------------------------------------------------------------------------


def test_the_probe_accepts_a_directory_in_which_locks_exclude(tmp_path: Path) -> None:
    check_locks_exclude(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_probe_refuses_a_directory_in_which_two_get_one_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems do that; here nothing but a false flock can show it."""
    monkeypatch.setattr(fcntl, "flock", lambda fd, kind: None)
    with pytest.raises(RefusedToStart) as refused:
        create_app(Settings(data=tmp_path / "data"))
    assert "does not exclude" in str(refused.value)
    assert "LASTSEAT_DATA name a local directory" in str(refused.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_the_probe_refuses_a_directory_in_which_nothing_can_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(fd: int, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(RefusedToStart) as refused:
        check_locks_exclude(tmp_path)
    assert "No locks available" in str(refused.value)
    assert list(tmp_path.iterdir()) == []
