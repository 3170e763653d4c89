"""Guards: how *read → decide → write* is made atomic. A guard is one file and one entry in the catalogue.

A guard runs a ``Transaction``: it ensures what it promises, has the transaction take the commands that wait, and lets
it read, decide and write. A guard may exclude by a lock, notice that somebody else wrote, or leave everything to an
engine; the box office and the stores do not know which.
"""

from __future__ import annotations

import functools
import pkgutil

from service.catalogue import GUARDS
from service.guards.base import Guard, LockLost, Mutex
from service.guards.transaction import Transaction
from service.stores.base import Store

__all__ = ["GUARDS", "Guard", "LockLost", "Mutex", "Transaction", "fitting", "guard_class"]


@functools.cache
def guard_class(name: str) -> type[Guard]:
    """The class of a guard of the catalogue; ``KeyError`` where there is none."""
    found: type[Guard] = pkgutil.resolve_name(f"service.guards.{name}:{GUARDS[name].class_name}")
    return found


def fitting(store: Store) -> list[str]:
    """The names of the guards that fit a store, in the order of the catalogue."""
    return [name for name in GUARDS if guard_class(name).fits(store)]
