"""A control group of the run's own, in both versions of cgroups: for a limit of CPU or memory on some processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from loadtests.lab.faults.leavings import RUN, left_behind

_REMEDY = "take root on a Linux whose cgroups can be written (in a container: --privileged)."
_GONE_WITHIN_S = 5.0
_POLL_S = 0.01


class NoCgroup(Exception):
    """There can be no such group here; the message says why, and what to do."""


class Limit(msgspec.Struct, frozen=True):
    """What is written into a group's files, in each version."""

    controller: str
    v1: Mapping[str, str]
    v2: Mapping[str, str]


class Group:
    """A group with a limit. ``folder`` has the kernel's files about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, pid: int) -> None:
        """Move a process into it. Raises ``ProcessLookupError`` where it has ended."""
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="utf-8")

    def counted(self, file: str, name: str) -> int:
        """A counter of one of its files of names and numbers."""
        lines = dict(line.split() for line in (self.folder / file).read_text(encoding="utf-8").splitlines())
        return int(lines.get(name, 0))


@contextlib.contextmanager
def limited(limit: Limit) -> Iterator[Group]:
    """A group for this block; at its end the processes inside are where the lab is. Raises ``NoCgroup``."""
    parent, is_v2 = _parent(limit.controller)
    with contextlib.ExitStack() as left:
        try:
            folder = parent / f"{RUN}-{limit.controller}-{time.monotonic_ns()}"
            left.enter_context(left_behind(remove, str(folder)))
            folder.mkdir()
            for name, value in (limit.v2 if is_v2 else limit.v1).items():
                (folder / name).write_text(value, encoding="utf-8")
        except OSError as error:
            # Without the group's own name: the same reason reads the same each time.
            why = f"{parent}: {error.strerror or error}"
            raise NoCgroup(f"no cgroup for {limit.controller} can be made in {why}; {_REMEDY}") from None
        yield Group(folder)


def why_not(limit: Limit) -> str:
    """Why there can be no such group here, and what to do; empty where there can."""
    try:
        with limited(limit):
            return ""
    except NoCgroup as error:
        return str(error)


def remove(name: str) -> None:
    """Move the processes of a group to where this one is, and remove the group. Idempotent."""
    folder, deadline = Path(name), time.monotonic() + _GONE_WITHIN_S
    while folder.exists():
        home = next(own for mount, own, _ in _hierarchies() if folder.is_relative_to(mount))
        for pid in (folder / "cgroup.procs").read_text(encoding="utf-8").split():
            with contextlib.suppress(ProcessLookupError):
                (home / "cgroup.procs").write_text(pid, encoding="utf-8")
        try:
            folder.rmdir()
        except OSError:  # one that was killed in it has not quite ended
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _parent(controller: str) -> tuple[Path, bool]:
    """The group below which this process may have one, and whether it is of version 2. Raises ``NoCgroup``."""
    for mount, own, controllers in _hierarchies():
        if controllers is not None and controller in controllers:
            return own, False
        if controllers is None:
            # A group with processes of its own gives its children no controllers: so it may be one further up.
            for folder in (own, *own.parents):
                if folder.is_relative_to(mount) and controller in _words(folder / "cgroup.subtree_control"):
                    return folder, True
    raise NoCgroup(f"this machine gives no cgroup for {controller}: {_REMEDY}")


def _hierarchies() -> Iterator[tuple[Path, Path, list[str] | None]]:
    """Where each hierarchy is mounted, this process's group in it, and its controllers; None: of version 2."""
    groups = [line.split(":", 2)[1:] for line in _lines("/proc/self/cgroup")]
    for line in _lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind in {"cgroup", "cgroup2"}:
            controllers = None if kind == "cgroup2" else options.split(",")
            wanted = set(controllers or [""])
            path = next((path for names, path in groups if wanted.intersection(names.split(","))), "/")
            below = os.path.relpath(path, root)
            yield Path(mount), Path(mount) if below.startswith("..") else Path(mount) / below, controllers


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").splitlines()
    return []


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").split()
    return []
