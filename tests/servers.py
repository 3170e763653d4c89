"""The engines that all tests of a session share: a private server of each kind, started when it is first needed.

Every test gets an empty office in it, by its data directory: two openings on one directory are of one office. A server
that does not start is a failure of whoever needs it, and no reason to skip.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memory

from loadtests.lab.servers.engines import ENGINES, Engines
from service.commands import store as store_command
from service.settings import Settings, from_environment

# Each process of a run has engines of its own, whose databases are some 8 MB for each test and last as long as the run.
_ROOM_BYTES = 10 * memory.GIB

_engines: Engines | None = None
_addresses: dict[tuple[str, Path], str] = {}


@contextlib.contextmanager
def ended_at_the_end() -> Iterator[None]:
    """What was started inside this block is stopped with it."""
    global _engines  # noqa: PLW0603
    folder = Path(tempfile.mkdtemp(prefix="lastseat-tests-"))
    with Engines(folder) as engines:
        _engines = engines
        try:
            yield
        finally:
            _engines = None
            _addresses.clear()
    shutil.rmtree(folder, ignore_errors=True)


def server(store: str) -> Any:
    """The running server of a store's engine. Who kills or pauses it takes one of his own instead."""
    if _engines is None:
        raise RuntimeError("engines run while tests do, not while they are collected")
    with memory.temporary_folders(_ROOM_BYTES):
        return _engines.server(store)


def address_of(store: str, data: Path) -> str:
    """Where the office of this directory is, set up; empty for a store that needs no engine."""
    if store not in ENGINES:
        return ""
    if (store, data) not in _addresses:
        _addresses[store, data] = server(store).fresh_database()
        set_up(_addresses[store, data])
    return _addresses[store, data]


def set_up(address: str) -> str:
    """What ``lastseat store init`` does, in this process: what a test puts in place of something is used."""
    return store_command.set_up(from_environment({"LASTSEAT_STORE": address}))


def settings_of(store: str, data: Path, **more: Any) -> Settings:
    """Settings for a store, whichever it is."""
    return Settings(data=data, store=store, store_url=address_of(store, data), **more)


def settings_without_engine(store: str, data: Path) -> Settings:
    """Settings with which a store can be built and asked what it is, and no more: for the collection of tests."""
    nowhere = {"redis": "unix:///nowhere", "postgres": "postgresql:///nowhere?host=/nowhere"}
    return Settings(data=data, store=store, store_url=nowhere.get(store, ""))
