"""Fault ``full-engine``: the engine has no room for more data, and then it has some.

Valkey has reached its ``maxmemory`` (noeviction). PostgreSQL has its data on a small ext4 of the run's own, on a loop
device, which is filled with a file and freed. It refuses what takes more room; where that is its log of what is written
(WAL), it ends itself, and is started again when there is room.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.disk.full_disk import IMAGE, fill, mount, unmount, why_no_disk
from loadtests.lab.faults.engine.restart_engine import RestartEngine
from loadtests.lab.faults.leavings import RUN, left_behind

_DISK_MIB = 512


class FullEngine(RestartEngine):
    name: ClassVar[str] = "full-engine"
    says: ClassVar[str] = (
        "The engine has no room for more data: Valkey has reached its maxmemory, PostgreSQL's disk is full; "
        "then it has room again."
    )
    takes: ClassVar[str] = f"{RestartEngine.takes}; PostgreSQL's disk takes Linux, root, loop devices and e2fsprogs"
    lasts_s: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._disk = contextlib.ExitStack()
        self._place: Path | None = None
        self._log = Path()
        self._said = 0

    @classmethod
    def needs_under(cls, store: str) -> str:
        return why_no_disk() if store == "postgres" else ""

    def equip(self, server: Any) -> None:
        if server.service.store != "postgres":
            return
        place = Path(tempfile.gettempdir()) / f"{RUN}-disk"
        with contextlib.ExitStack() as made:
            made.enter_context(left_behind(remove, str(place)))
            place.mkdir(mode=0o700)
            mount(server.folder / IMAGE, place, _DISK_MIB)
            server.engine.move_to(place)
            self._disk, self._place = made.pop_all(), place

    def __exit__(self, *_: object) -> None:
        self._disk.close()

    def begin(self, server: Any) -> str:
        if self._place is None:
            server.engine.fill()
            return "engine's memory was full"
        filled = fill(self._place / "ballast") >> 20
        if server.engine.has_room():
            raise NotInjected("the engine had room, though its disk was filled: has a standby taken its place?")
        self._log, self._said = server.engine.log, 0
        self._said = self._refusals()
        return f"the engine's disk, an ext4 of {_DISK_MIB} MiB, filled with {filled} MiB"

    def last(self, over: threading.Event) -> str:
        """As long as it lasts, and until the engine wanted room for a sale: it has some left in what it has opened."""
        if self._place is None:
            return super().last(over)
        self.wait_for_effect(over, self._refusals)
        if not (refusals := self._refusals()):
            raise NotInjected("the round was over before the engine wanted more room")
        return f"the engine wanted more room {refusals} times"

    def _refusals(self) -> int:
        """How often its log has said since then that there is no room."""
        said = self._log.read_text(encoding="utf-8", errors="replace").count(os.strerror(errno.ENOSPC))
        return said - self._said

    def heal(self, server: Any) -> None:
        if self._place is None:
            server.engine.make_room()
            return
        (self._place / "ballast").unlink(missing_ok=True)
        server.engine.recover()


def remove(place: str) -> None:
    """Take away the disk and the folder at a place. Idempotent."""
    unmount(place)
    with contextlib.suppress(FileNotFoundError):
        Path(place).rmdir()
