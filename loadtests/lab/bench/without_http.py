"""Decisions a second without HTTP, measured in a child process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadtests.lab.bench.cells import largest_batches
from loadtests.lab.bench.servers import NotAvailable
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import Service

THREADS = (1, 16)
_SPARE_S = 60.0


class InProcess(NamedTuple):
    """One measurement: the child's arguments, in their order."""

    store: str
    guard: str
    batch: int
    threads: int


class WithoutHttp(msgspec.Struct, kw_only=True):
    """Whole purchases a second within one process, and the rules alone."""

    store: str
    guard: str
    batch: int
    threads: int
    sold_per_s: float
    decisions_per_s: float


class MeasurementFailed(Exception):
    """The measuring process ended without a result."""


def cells(stores: Sequence[str]) -> list[InProcess]:
    """The measurements: one thread alone without a batch, many with the largest there is."""
    # An engine is asked over a connection: what it costs without HTTP is the engine's own.
    return [
        InProcess(cell.store, cell.guard, 1 if threads == 1 else cell.batch, threads)
        for cell in largest_batches("-", [store for store in stores if store not in ENGINES])
        for threads in THREADS
    ]


def measure(cell: InProcess, folder: Path, seconds: float) -> WithoutHttp:
    """Raises ``NotAvailable`` where the service refuses the pairing, ``MeasurementFailed`` where there is no result."""
    folder.mkdir(parents=True)
    log = folder / "log"
    arguments = [str(folder / "data"), *map(str, cell), str(seconds)]
    child = process.start(
        [sys.executable, "-m", "loadtests.lab.bench.applications.in_process", *arguments],
        log=log,
        environment=Service().environment(folder),
        directory=folder,
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2 * seconds + _SPARE_S)
    finally:
        with process.undisturbed():
            process.kill(child)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["nothing was printed"]
    try:
        said = msgspec.json.decode(lines[-1], type=dict[str, Any])
    except msgspec.MsgspecError:
        raise MeasurementFailed(f"{cell.store} + {cell.guard} without HTTP: {lines[-1]}") from None
    if "refused" in said:
        raise NotAvailable(said["refused"])
    return WithoutHttp(**cell._asdict(), **said)
