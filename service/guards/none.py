"""Guard ``none``: excludes nobody. The negative control: it oversells and loses orders."""

from __future__ import annotations

import time
from typing import Any

from service.guards.base import Guard
from service.guards.transaction import Transaction
from service.settings import Settings
from service.stores.base import Store


class NoGuard(Guard):
    """Runs the very same read, decision and write as every other guard, at once and with nothing around them."""

    name = "none"

    def __init__(self, settings: Settings, store: Store) -> None:
        pass

    def run(self, transaction: Transaction[Any]) -> None:
        began = time.perf_counter()
        transaction.take_and_decide()
        transaction.held_ms = (time.perf_counter() - began) * 1e3
