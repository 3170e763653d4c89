"""Small disks and read-only ones, for one typed server alone.

A mount namespace of the server's own holds them, so nobody else sees them and they are gone with it. Where a machine
does not allow that (some containers), a limit on the size of every file refuses writes instead: another error number,
the same promise.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from typed import Typed

# Who is not root becomes root of a user namespace, in which it may mount.
UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")


@cache
def may_mount() -> bool:
    """Whether this machine lets us have a mount namespace with a disk in it."""
    try:
        tried = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True, timeout=20, check=False
        )
    except OSError:
        return False
    return tried.returncode == 0


def _mounting(directory: Path, options: str, then: str) -> list[str]:
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && {{ {then}; exec "$@"; }}'
    directory.mkdir(parents=True)
    return [*UNSHARE, "sh", "-c", script, str(directory)]


def on_small_disk(data: Path, kib: int) -> list[str]:
    """What to put before a command so that ``data`` is an empty disk of so many KiB."""
    return _mounting(data, f"size={kib}k", ":") if may_mount() else []


def on_full_disk(data: Path) -> list[str]:
    """What to put before a command so that ``data`` is a disk without room."""
    return _mounting(data, "size=64k", 'cat /dev/zero > "$0/ballast" 2>/dev/null')


def on_read_only_disk(data: Path) -> list[str]:
    """What to put before a command so that ``data`` is a disk that takes no writes."""
    return _mounting(data, "ro", ":")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process may open nothing inside this block.

    Garbage is collected before the block, not inside it: what it closed would make room for something else.
    """
    gc.collect()
    gc.disable()
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.enable()


@contextmanager
def full(server: Typed) -> Iterator[str]:
    """No room for the data of a running server, which was started ``on_small_disk``; gives the code that buyers get."""
    if not may_mount():
        with limited(server):
            yield "storage_refused"
        return
    ballast = Path(f"/proc/{server.pid}/root{server.data}/ballast")
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass
    try:
        yield "storage_full"
    finally:
        ballast.unlink()


@contextmanager
def growing_full(server: Typed, kib: int) -> Iterator[str]:
    """Room for documents of about so many KiB, on the small disk or else by a limit; gives the code that buyers get."""
    if may_mount():
        yield "storage_full"
        return
    with limited(server, kib * 1024):
        yield "storage_refused"


@contextmanager
def read_only(server: Typed) -> Iterator[str]:
    """The events of a running server take no writes; gives the code that buyers get."""
    if not may_mount():
        with limited(server):
            yield "storage_refused"
        return
    events = str(server.data / "events")
    _within(server, "mount", "--bind", events, events)
    _within(server, "mount", "-o", "remount,bind,ro", events)
    try:
        yield "storage_refused"
    finally:
        _within(server, "umount", "--lazy", events)  # a worker may just be looking at it


def _within(server: Typed, *command: str) -> None:
    mapped = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    subprocess.run(["nsenter", f"--target={server.pid}", "--mount", *mapped, *command], check=True, timeout=20)


@contextmanager
def limited(server: Typed, size: int = 0) -> Iterator[None]:
    """No file of the server may be written beyond ``size``."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in server.workers()}
    for pid, (_, most) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
