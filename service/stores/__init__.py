"""Where events and their records are kept. A store is one file and one entry in the catalogue.

A store reads and writes; it never decides and never excludes anybody: that is what guards are for. Between
``view`` and ``append`` anything may have happened, and a store that is asked to append on a view that is no longer
true does so: whoever takes the guard away sees the lost update that this makes.
"""

from __future__ import annotations

import pkgutil

from service.catalogue import STORES
from service.errors import RefusedToStart
from service.settings import Settings, without_passwords
from service.stores.base import SharesSwitch, Store

__all__ = ["STORES", "SharesSwitch", "Store", "open_store", "store_class"]


def open_store(settings: Settings) -> Store:
    """The store that the settings name, opened; raises ``RefusedToStart`` where there is no such store."""
    if settings.store not in STORES:
        raise RefusedToStart(
            f"LASTSEAT_STORE={without_passwords(settings.store)!r} is not a store. The stores are: {', '.join(STORES)}."
        )
    return store_class(settings.store)(settings)


def store_class(name: str) -> type[Store]:
    """The class of a store of the catalogue; ``KeyError`` where there is none."""
    found: type[Store] = pkgutil.resolve_name(STORES[name].path)
    return found
