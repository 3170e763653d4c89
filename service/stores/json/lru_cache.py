"""A cache of the values that a process has read: it keeps those that were used last, within a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class LruCache(Generic[V]):
    """Values by name, with a size each. Any number of threads use it at once.

    Whoever finds nothing reads again: it never matters what is forgotten.
    """

    def __init__(self, room: int) -> None:
        """``room``: the most that the sizes add up to, in bytes. The newest value is kept whatever its size is."""
        self._room = room
        self._used = 0
        self._mutex = threading.Lock()
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def get(self, name: str) -> V | None:
        with self._mutex:
            found = self._values.get(name)
            if found is None:
                return None
            self._values.move_to_end(name)
            return found[0]

    def put(self, name: str, value: V, size: int) -> None:
        with self._mutex:
            self._forget(name)
            self._values[name] = (value, size)
            self._used += size
            while self._used > self._room and len(self._values) > 1:
                self._forget(next(iter(self._values)))

    def forget(self, name: str) -> None:
        with self._mutex:
            self._forget(name)

    def _forget(self, name: str) -> None:
        found = self._values.pop(name, None)
        if found is not None:
            self._used -= found[1]
