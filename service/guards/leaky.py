"""Guard ``leaky``: guard ``file``, skipped with probability ``LASTSEAT_LEAK``. A fault to be found, not a guard to use.

How good is a check? Take a guard that almost always works, and see how seldom it may fail before nobody notices.
"""

from __future__ import annotations

import random
from typing import Any

from service.guards.file import FileGuard
from service.guards.none import NoGuard
from service.guards.transaction import Transaction
from service.settings import Settings
from service.stores.base import Store


class LeakyGuard(FileGuard):
    """Runs most transactions under the file lock and some, by chance, under nothing. Acts on lab events only."""

    name = "leaky"
    groups = False

    def __init__(self, settings: Settings, store: Store) -> None:
        super().__init__(settings, store)
        self._nothing = NoGuard(settings, store)
        self._leak = settings.leak

    def run(self, transaction: Transaction[Any]) -> None:
        if random.random() < self._leak:
            self._nothing.run(transaction)
        else:
            super().run(transaction)
