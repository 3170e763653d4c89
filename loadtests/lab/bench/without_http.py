"""Decisions a second without HTTP, measured in a child process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.lab.bench.cells import OFFICES
from loadtests.lab.bench.servers import NotAvailable
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import Service

THREADS = (1, 16)
_SPARE_S = 60.0


class Given(NamedTuple):
    """What is measured."""

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


class _Said(msgspec.Struct):
    sold_per_s: float = 0.0
    decisions_per_s: float = 0.0
    refused: str = ""


class ChildFailed(Exception):
    """The measuring process ended without a result."""


def cells(stores: list[str]) -> list[Given]:
    """What to measure: one thread alone without a batch, many with the largest there is."""
    # An engine is asked over a connection: what it costs without HTTP is the engine's own.
    largest = {(store, guard): batch for store, guard, batch in OFFICES if store in stores and store not in ENGINES}
    return [
        Given(store, guard, 1 if threads == 1 else batch, threads)
        for (store, guard), batch in largest.items()
        for threads in THREADS
    ]


def measure(given: Given, folder: Path, seconds: float) -> WithoutHttp:
    """Raises ``NotAvailable`` where the service refuses the pairing, ``ChildFailed`` where the child does not end."""
    folder.mkdir(parents=True)
    log = folder / "log"
    store, guard, batch, threads = given
    arguments = [str(folder / "data"), *map(str, given), str(seconds)]
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
        said = msgspec.json.decode(lines[-1], type=_Said)
    except msgspec.DecodeError:
        raise ChildFailed(f"{store} + {guard} without HTTP: {lines[-1]}") from None
    if said.refused:
        raise NotAvailable(said.refused)
    return WithoutHttp(
        store=store,
        guard=guard,
        batch=batch,
        threads=threads,
        sold_per_s=said.sold_per_s,
        decisions_per_s=said.decisions_per_s,
    )
