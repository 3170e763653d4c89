"""A purchase that stands still between its reading and its writing, for as long as a test wants."""

from __future__ import annotations

import threading

import pytest

from service.sales import command_handler
from service.settings import Think

FAR = 90.0


class Pause:
    """Holds the first purchase between its reading and its writing until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(command_handler, "think", self._think)

    def _think(self, _delay: Think) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(FAR)
