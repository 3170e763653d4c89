"""Grades a learner's program: explored in a process of its own, within limits, with nothing left running.

The limits are for mistakes, not for malice: a program that wants to do harm needs a container around all of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil

from workers.exercises import EXERCISES, load
from workers.exercises.common.exercise import Explored, Finding, Graded
from workers.lessons.common.resources import process_tree

EXPLORE_S = 20.0
"""How long orders are tried, where nothing else is said."""
SPARE_S = 8.0
"""So long after that a check is ended, whatever it does."""
MOST_PROCESSES = 64
"""Of one check, at the same time."""
_LOOK_S = 0.02


def grade(folder: Path, limit_s: float = EXPLORE_S) -> Graded:
    """Grades the program of an exercise in this folder; what is wrong with it, or with the folder, is a finding.

    Orders are tried for ``limit_s``, and ``SPARE_S`` later the check is ended.
    """
    names = [name for name in EXERCISES if (folder / f"{name}.py").exists()]
    if len(names) != 1:
        kind = "several" if names else "gone" if folder.is_dir() else "no_folder"
        return Graded("", Finding(kind, {"folder": str(folder), "names": ", ".join(names)}))
    explored = _explored(names[0], folder / f"{names[0]}.py", limit_s)
    if isinstance(explored, Finding):
        return Graded(names[0], explored)
    return Graded(names[0], _verdict(names[0], explored, limit_s), explored)


def _verdict(name: str, explored: Explored, limit_s: float) -> Finding | None:
    """Why a program that was explored does not pass; ``None``: it does."""
    exercise = load(name)
    if explored.wrong:
        return explored.wrong
    if not explored.whole:
        return Finding("not_whole", {"tried": explored.tried, "seconds": limit_s})
    if exercise.needs_overlap and not explored.overlapped:
        return Finding("no_overlap", {"part": exercise.plan.concurrent})
    return None


def _explored(name: str, path: Path, limit_s: float) -> Explored | Finding:
    with tempfile.TemporaryDirectory(prefix="lastseat-exercise-") as folder:
        result = Path(folder) / "result"
        command = [sys.executable, "-P", "-m", "workers.exercises.common.child", name, str(path.resolve())]
        child = subprocess.Popen(
            [*command, str(limit_s), str(result)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # the same orders each time
            start_new_session=True,
        )
        seen: set[psutil.Process] = set()
        try:
            stopped = _watch(child, seen, limit_s + SPARE_S)
        finally:
            _kill(child, seen)
        if stopped:
            return stopped
        try:
            return _read(result)
        except (OSError, msgspec.MsgspecError):
            return Finding("died", {"status": child.returncode})


def _read(result: Path) -> Explored | Finding:
    content = msgspec.json.decode(result.read_bytes(), type=dict[str, msgspec.Raw])
    if "Explored" in content:
        return msgspec.json.decode(content["Explored"], type=Explored)
    return msgspec.json.decode(content["Finding"], type=Finding)


def _watch(child: subprocess.Popen[bytes], seen: set[psutil.Process], limit_s: float) -> Finding | None:
    """Waits for the end of a check, and notes its processes; a finding if it goes beyond a limit."""
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_LOOK_S)
            return None
        tree = process_tree(child.pid)
        seen.update(tree)
        if len(tree) > MOST_PROCESSES:
            return Finding("processes", {"most": MOST_PROCESSES})
        if time.monotonic() > deadline:
            return Finding("time", {"seconds": limit_s})


def _kill(child: subprocess.Popen[bytes], seen: set[psutil.Process]) -> None:
    """Kills a check's process group, and what has left the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for process in seen:
        with contextlib.suppress(psutil.NoSuchProcess):  # it also says so where another process has the number now
            process.kill()
    child.wait()
