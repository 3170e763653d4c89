"""Sales on the store ``sqlite`` without an office around it, for its tests."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from service.guards.immediate import ImmediateGuard
from service.rules.inventory import Event, Sell, View, decide_all
from service.stores.sqlite.store import Sqlite

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SHOW = Event("show", "Show", 10_000, lab=True)
FAR_S = 90.0


def sold(view: View, key: str) -> list[View]:
    """The view with a sale to be written."""
    decide_all(view, [Sell(key, "r", f"o-{key}", 1)], NOW)
    return [view]


def write(store: Sqlite, key: str) -> None:
    view = store.view("show", [Sell(key, "r", f"o-{key}", 1)])
    store.append(sold(view, key))


def sell(store: Sqlite, key: str) -> None:
    with store.transaction("show", ImmediateGuard.lock, time.monotonic() + FAR_S):
        write(store, key)
