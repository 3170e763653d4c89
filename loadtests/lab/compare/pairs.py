"""Which guards fit which store: the service's registries are asked, nothing is listed here."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.lab.servers.engines import ENGINES

FAULTS = frozenset({"leaky"})
"""Guards that exist to be caught; compared only where they are asked for."""


class Offer(msgspec.Struct, frozen=True):
    """A store: who sees the same data, the guard that ``on`` stands for, and all that fit it."""

    store: str
    scope: str
    on: str
    guards: tuple[str, ...]


def offers(stores: Sequence[str] = ()) -> dict[str, Offer]:
    """What the registries say of the stores, all of them if none is named. Nothing is started, and no engine asked."""
    known = importlib.import_module("service.stores")
    return {store: _offer(store) for store in stores or known.STORES}


def store_names() -> list[str]:
    """All stores that there are."""
    return list(importlib.import_module("service.stores").STORES)


def guard_names() -> list[str]:
    """All guards that there are."""
    return list(importlib.import_module("service.guards").GUARDS)


def _offer(name: str) -> Offer:
    known, guards = importlib.import_module("service.stores"), importlib.import_module("service.guards")
    settings = importlib.import_module("service.settings")
    with tempfile.TemporaryDirectory(prefix="lastseat-compare-") as data:
        # An engine's store is built without asking the engine, so an address at which nobody is will do.
        url = f"{_scheme(name)}://nobody.invalid/0" if name in ENGINES else ""
        store = known.open_store(settings.Settings(data=Path(data), store=name, store_url=url))
        try:
            return Offer(name, store.scope, store.safe_guard, tuple(guards.fitting(store)))
        finally:
            store.close()


def _scheme(store: str) -> str:
    schemes: dict[str, str] = importlib.import_module("service.settings").SCHEMES
    return next(scheme for scheme, named in schemes.items() if named == store)
