"""The sales that a compare has held, in its results folder: none is held twice unless that is asked for.

``experiment.json`` says under what it was measured. Each sale has a folder ``cells/<cell>/<number>/`` with all that a
run leaves, and beside it ``<number>.json`` with its figures, which is written last and in one step: a compare that is
killed in the middle of a sale leaves none, and holds that sale again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from loadtests.lab.compare.matrix import Cell, CellSettings
from loadtests.lab.compare.results import SaleFigures
from loadtests.lab.paths import PACKAGES, new_results_folder, write_json
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.machine import Machine, describe
from loadtests.lab.untrusted import read_json
from service import catalogue

EXPERIMENT = "experiment.json"
CELLS = "cells"
_NOT_KEPT = ("data", *ENGINES)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of a folder's sales. Sales under different ones are not put into one table."""

    shape: CellSettings
    service: str
    """A digest of the service's source: another service is another result."""
    processor: str
    cores: int
    packages: dict[str, str]


class Started(msgspec.Struct, kw_only=True):
    """``experiment.json``."""

    conditions: Conditions
    machine: Machine


class FolderInUse(Exception):
    """Another command of the lab works in this folder. The message says which folder."""


class SalesCache:
    """The sales in one results folder. ``open_cache`` gives one."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.folder = folder
        self.machine = machine

    def sales(self, cell: Cell) -> list[SaleFigures]:
        """The sales of a cell that were held and can be read, in the order in which they were held."""
        paths = sorted(self._place(cell).glob("*.json"), key=lambda path: int(path.stem))
        return [sale for path in paths if (sale := read_json(path, SaleFigures)) is not None]

    def place(self, cell: Cell) -> Path:
        """An empty folder for the cell's next sale. What a killed compare left there is removed."""
        numbers = [int(path.stem) for path in self._place(cell).glob("*.json")]
        place = self._place(cell) / str(max(numbers, default=0) + 1)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def add(self, place: Path, sale: SaleFigures) -> None:
        """Keep the figures of the sale that was held in ``place``; remove the store's own files from its folder."""
        for name in _NOT_KEPT:
            shutil.rmtree(place / name, ignore_errors=True)
        write_json(place.with_name(f"{place.name}.json"), sale)

    def _place(self, cell: Cell) -> Path:
        return self.folder / CELLS / cell.name


@contextlib.contextmanager
def open_cache(
    results: str, shape: CellSettings, *, fresh: bool, kind: str = "compare"
) -> Iterator[tuple[SalesCache, str]]:
    """Give a folder to work in, alone, and a sentence about it. Raises ``FolderInUse``.

    It is ``latest`` if that was measured under the same conditions, unless ``fresh``; else a new one.
    """
    latest = Path(results).resolve() / kind / "latest"
    latest.parent.mkdir(parents=True, exist_ok=True)
    here = describe(latest.parent)
    now = Conditions(
        shape=shape, service=source_digest(), processor=here.processor, cores=here.cores, packages=here.packages
    )
    differs = "a new one was asked for" if fresh else _differs(latest, now)
    if not differs:
        folder, said = latest.resolve(), "going on with what was measured there"
    else:
        folder, said = new_results_folder(results, kind), differs
        write_json(folder / EXPERIMENT, Started(conditions=now, machine=here))
    with _alone(folder):
        yield SalesCache(folder, here), said


def _differs(latest: Path, now: Conditions) -> str:
    """The reason why nothing can be added to a folder; empty where it can."""
    started = read_json(latest / EXPERIMENT, Started)
    if started is None:
        return "there was none to go on with"
    before = started.conditions
    if before.service != now.service:
        return "the service is not the one that was measured before, so this begins anew"
    if before.shape != now.shape:
        return "the sales before were of another shape, so this begins anew"
    return "" if before == now else "the machine or its packages are not those of before, so this begins anew"


def source_digest() -> str:
    """A digest of whatever decides how the service behaves: its source, the worker models, gunicorn's settings.

    What is expected of stores and guards under a fault is no part of it: it is asked for when results are shown.
    """
    digest = hashlib.sha256(repr(_traits()).encode())
    files = [*(PACKAGES / "workers").glob("*.py"), *(PACKAGES / "service").rglob("*.py")]
    for path in sorted({*files} - {Path(catalogue.__file__)}):
        digest.update(f"{path.relative_to(PACKAGES)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _traits() -> tuple[object, ...]:
    """The catalogue without what is expected under a fault."""
    stores = [replace(each, refuses_under=(), loses_under=()) for each in catalogue.STORES.values()]
    guards = [replace(each, loses_under=(), may_lose_under=()) for each in catalogue.GUARDS.values()]
    return stores, guards, catalogue.HOST_LINE_WORKERS


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The kernel lets go of this when the compare ends, also by ``kill -9``."""
    held = os.open(folder / EXPERIMENT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"Another lastseat works in {folder}. Nothing was written; wait until it has ended, or say --fresh "
                "for a new folder."
            ) from None
        yield
    finally:
        os.close(held)
