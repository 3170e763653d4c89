"""Fault ``power-cut``: everything stops at once, and the disk has nothing that was not synced.

After ``kill -9`` the kernel still has what a killed process wrote; after a power cut nobody has. So who keeps the
tickets, the office or the engine that the lab has started, runs under strace from its start, which writes down what it
asks of its disk. When the power is cut, all processes are killed, the files are rebuilt from the trace with what was
synced alone, and everything is started again on these. In the middle of a sync most is not on the disk, so the cut
comes there if it can.

At the first cut of a run nothing is left that was not synced; at each later one a part of it, as the number of the cut
decides. A file that is written through a shared mapping has what was synced of it. What the kernel had is beside the
data after a cut, in a folder of its own. Of an engine two things are taken for granted: what it had when it was ready
for the sale is synced, for real ones were started long before; and a sync of a file covers its name, as on ext4,
XFS and btrfs. PostgreSQL relies on that.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

import msgspec
import psutil

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected, TimedFault, refuse_several_nodes
from loadtests.lab.faults.disk.calls import CallsFault, refuse_without_files
from loadtests.lab.faults.disk.traced_disk import Disk, File, Folder, Image, Node, changed, image_of, renamed
from loadtests.lab.faults.disk.tracing import Call, parse, prefix, why_not
from loadtests.lab.faults.engine.restart_engine import RestartEngine
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.leavings import left_behind
from loadtests.lab.faults.processes import combiners_of
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES, NoEngine, remove_temporary
from loadtests.lab.servers.office import TRACE, NotReady
from loadtests.lab.servers.traced import Traced

_TAIL = 4096
_POLL_S = 0.0005
_KEPT = 0.5


class PowerCut(TimedFault):
    name: ClassVar[str] = "power-cut"
    says: ClassVar[str] = (
        "The power is cut in the middle of a sync: all processes end at once, what was not synced is not on the disk, "
        "and the office is started again."
    )
    takes: ClassVar[str] = "Linux, strace, and a store with files on this host or an engine that the lab has started"
    lasts_s: ClassVar[float] = 0.5
    sync: ClassVar[str] = "fsync|fdatasync"
    """The calls in the middle of which it cuts."""
    sync_within_s: ClassVar[float] = 0.2
    """How long it waits for such a call; then any moment will do."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._traced = contextlib.ExitStack()
        self._cuts = 0
        self._read = 0
        """How much of the trace was read."""

    @classmethod
    def needs(cls) -> str:
        return why_not()

    def refuse_beside(self, others: Iterable[Fault]) -> None:
        for other in others:
            if isinstance(other, CallsFault | RestartEngine | PowerCut):
                raise FaultUnfit(
                    f"the faults {self.name} and {other.name} cannot be in one run: both take the same processes for "
                    "themselves. Take one of them."
                )

    def adapt(self, service: Any) -> Any:
        if service.store not in ENGINES:
            refuse_without_files(self.name, service, f", or --store {' or '.join(ENGINES)} without an address")
        refuse_several_nodes(self.name, service)
        return msgspec.structs.replace(service, under=prefix())

    def prepare(self, folder: Path) -> None:
        """Nothing but a note: the trace of an office may hold its admin token, and a killed lab would leave it."""
        self._traced.enter_context(left_behind(remove_temporary, str(folder.absolute() / TRACE)))

    def __exit__(self, *_: object) -> None:
        self._traced.close()

    def inject(self, server: Any, over: threading.Event) -> Happened:
        self._over = over
        return super().inject(server, over)

    def begin(self, server: Any) -> str:
        traced = kept_by(server)
        _wait_for(self.sync, traced.calls, self.sync_within_s)
        if self._over.is_set():
            raise NotInjected("the round was over before the power was cut")
        _end(server)
        return self.cut(traced)

    def cut(self, traced: Traced) -> str:
        """Let the files of a server that was killed be as a power cut leaves them; returns what is gone, in words.

        What it had is beside its folder then. Raises ``NotInjected``; then no file was changed.
        """
        self._cuts += 1
        try:
            disk = self._disk(traced)
        except (ValueError, LookupError, NotImplementedError, NotADirectoryError) as error:
            raise NotInjected(f"what strace wrote of the system calls is not understood ({error!r})") from error
        text, image = self._cut(disk)
        _put_back(image, traced.files, traced.files.with_name(f"{traced.files.name}-before-cut-{self._cuts}"))
        return text

    def heal(self, server: Any) -> None:
        try:
            server.restart()
        except NoEngine as error:
            raise NotReady(str(error)) from None

    def _disk(self, traced: Traced) -> Disk:
        """The disk at the end of the trace."""
        disk = Disk(str(traced.files), image=traced.before, names_with_files=traced.names_with_files)
        self._read, settled_at = 0, traced.settled_at
        with traced.calls.open(encoding="ascii") as trace:
            for place, call in enumerate(parse(self._lines(trace))):
                if settled_at and self._read > settled_at:
                    disk.sync()
                    settled_at = 0
                if self._is_true(call):
                    disk.happen(call, place)
        if settled_at:
            disk.sync()
        return disk

    def _lines(self, trace: TextIO) -> Iterator[str]:
        for line in trace:
            self._read += len(line)
            yield line

    def _is_true(self, _call: Call) -> bool:
        """Whether the disk has done what it was asked for."""
        return True

    def _cut(self, disk: Disk) -> tuple[str, Image]:
        """What is gone after the cut, in words, and what is left."""
        kept, nodes = self._kept(disk), [node for _, node in disk.nodes()]
        left = {node: [piece for place, change in node.changes for piece in kept(place, change)] for node in nodes}
        names = sum(len(node.changes) for node in nodes if isinstance(node, Folder))
        writes = sum(len(node.changes) for node in nodes if isinstance(node, File) and not node.mapped)
        gone = sum(change not in left[node] for node in nodes for _, change in node.changes if not _is_mapped(node))
        text = f"{writes} writes and {names} changes of names were not synced; {gone} of these are gone"
        return text, image_of(disk.root, lambda node: _with(node, left[node]))

    def _kept(self, _disk: Disk) -> Callable[[int, Any], Sequence[Any]]:
        """What is kept of a change that was not synced, by its place in the trace."""
        rng = random.Random(self._cuts)
        return lambda _place, change: [change] if self._cuts > 1 and rng.random() < _KEPT else []


def _is_mapped(node: Node) -> bool:
    return isinstance(node, File) and node.mapped


def _with(node: Node, changes: Sequence[Any]) -> object:
    if isinstance(node, Folder):
        return renamed(node.synced, changes)
    return changed(node.synced, [] if node.mapped else changes)


def kept_by(server: Any) -> Traced:
    """Who keeps the tickets: the engine that the lab has started, or the office."""
    traced: Traced = server.engine.traced if server.has_own_engine else server.traced
    return traced


def _wait_for(sync: str, calls: Path, within_s: float) -> None:
    """Wait for a moment at which such a call is under way, at most so long."""
    deadline, under_way = time.monotonic() + within_s, re.compile(rf"\d+ +({sync})\([^\n]*".encode())
    with calls.open("rb") as trace:
        while time.monotonic() < deadline:
            trace.seek(max(0, trace.seek(0, os.SEEK_END) - _TAIL))
            if under_way.fullmatch(trace.read().rpartition(b"\n")[2]):
                return
            time.sleep(_POLL_S)


def _end(server: Any) -> None:
    """Kill everything, who answers the buyers first: no answer leaves after the last call that was written down."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    if server.has_own_engine:
        server.engine.kill()
    server.kill()
    combiners = combiners_of(server)
    for each in combiners:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait_for_the_end([each.pid for each in combiners])  # each is the head of a group of its own


def _put_back(image: Image, folder: Path, beside: Path) -> None:
    """Let a folder have these files, as its owner's alone; what it had is beside it then."""
    owner = folder.stat()
    folder.rename(beside)
    for path in ("", *sorted(image)):
        place, content = folder / path, image.get(path)
        if content is None:
            place.mkdir(mode=0o700)
        else:
            place.touch(mode=0o600)
            place.write_bytes(content)
        os.chown(place, owner.st_uid, owner.st_gid)
