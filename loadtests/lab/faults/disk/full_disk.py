"""Fault ``full-disk``: the disk has no room left for some time, and then has room again.

The office's data are on a small ext4 of the run's own, on a loop device, which is filled with a file and freed. Where
this machine has none for us, and for a target, the writes fail with ENOSPC instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

from loadtests.lab.faults.base import Fault, FaultUnfit
from loadtests.lab.faults.disk.calls import WRITES, CallsFault
from loadtests.lab.faults.leavings import left_behind

DISK_MIB = 64
IMAGE = "disk.img"
_PIECE = 4096
_WITHIN_S = 60.0


class FullDisk(CallsFault):
    name: ClassVar[str] = "full-disk"
    says: ClassVar[str] = "The disk has no room left, and then has room again."
    takes: ClassVar[str] = f"{CallsFault.takes}; a real disk takes root, loop devices and e2fsprogs"
    calls: ClassVar[str] = WRITES
    how: ClassVar[str] = "error=ENOSPC"
    words: ClassVar[str] = "writes failed with ENOSPC"

    def __init__(self) -> None:
        super().__init__()
        self._disk = contextlib.ExitStack()
        self._ballast: Path | None = None
        self._why_none = "where a target has its files is not known"

    @classmethod
    def of_target(cls) -> type[Fault]:
        return FullDiskOfTarget

    def adapt(self, service: Any) -> Any:
        if service.worker == "gevent" and (why := why_no_disk()):
            raise FaultUnfit(
                f"the fault {self.name} takes a disk of its own under gevent, whose threads wake each other by "
                f"writing: without one such a write would fail, too. {why[0].upper()}{why[1:]}"
            )
        return super().adapt(service)

    def prepare(self, folder: Path) -> None:
        self._why_none = why_no_disk()
        if self._why_none:
            return
        place = folder / "data"
        place.mkdir(mode=0o700, exist_ok=True)
        try:
            with contextlib.ExitStack() as made:
                made.enter_context(left_behind(unmount, str(place)))
                mount(folder / IMAGE, place)
                self._disk = made.pop_all()
        except (OSError, subprocess.SubprocessError) as error:
            self._why_none = str(error)
        else:
            self._ballast = place / "ballast"

    def __exit__(self, *_: object) -> None:
        self._disk.close()

    def begin(self, server: Any) -> str:
        if self._ballast is None:
            return f"{super().begin(server)}, without a small disk: {self._why_none.rstrip('.')}"
        return f"an ext4 of {DISK_MIB} MiB filled with {fill(self._ballast) >> 20} MiB"

    def last(self, over: threading.Event) -> str:
        if self._ballast is None:
            return super().last(over)
        over.wait(self.lasts_s)
        return ""

    def heal(self, server: Any) -> None:
        if self._ballast is None:
            super().heal(server)
        else:
            self._ballast.unlink(missing_ok=True)


class FullDiskOfTarget(FullDisk):
    def prepare(self, folder: Path) -> None:
        return


def why_no_disk() -> str:
    """What this machine lacks for a small disk, with the remedy; empty where nothing is known to be missing."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return "a disk of its own takes Linux, root and loop devices."
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4: `sudo apt-get install e2fsprogs`."
    return ""


def mount(image: Path, place: Path, mib: int = DISK_MIB) -> None:
    """Make a small ext4 in a file, and let it be at a place for this user alone. Raises ``OSError`` and its like."""
    with image.open("wb") as file:
        file.truncate(mib << 20)
    for command in (
        ["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
        ["mount", "-o", "loop,discard,nosuid,nodev", str(image), str(place)],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=_WITHIN_S)
    (place / "lost+found").rmdir()
    place.chmod(0o700)


def unmount(place: str) -> None:
    """Take away the disk that is at a place, as soon as nobody uses it; its loop device ends with it. Idempotent."""
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", place], check=True, capture_output=True, timeout=_WITHIN_S)


def fill(ballast: Path) -> int:
    """Write until there is no room; returns the bytes."""
    free = os.statvfs(ballast.parent)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        with contextlib.suppress(OSError):  # most of it at once
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
        file.seek(0, os.SEEK_END)
        while True:
            file.write(bytes(_PIECE))
    return ballast.stat().st_size
