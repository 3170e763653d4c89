"""Faults that are injected into a running sale, and healed. A fault is one file and one line in ``FAULTS``.

What is injected stands in the results as ``faults.json``, from when to when on the history's clock, and as bands in the
report. The verdict knows nothing of it: a fault is no excuse for a seat that was sold twice.

A fault is moved by the thread that started the servers (``Injection.step``), while it waits for the load to end: on
Linux a program ends with the *thread* that started it, so one that is started in a thread of its own would end there.
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from loadtests.lab.live import LiveCount

FAULTS: dict[str, str] = {
    "kill-node": "loadtests.lab.faults.kill_node:KillNode",
    "restart-engine": "loadtests.lab.faults.restart_engine:RestartEngine",
    "kill-engine": "loadtests.lab.faults.kill_engine:KillEngine",
    "cut-node": "loadtests.lab.faults.cut_node:CutNode",
}
FAULTS_FILE = "faults.json"


class FaultUnfit(Exception):
    """The fault cannot be injected into such an experiment; the message says what it needs."""


class Span(msgspec.Struct, frozen=True):
    """Something that was injected: what, and from when to when, in nanoseconds of the history's clock."""

    name: str
    begin_ns: int
    end_ns: int


class Fault(ABC):
    """One kind of fault. Built once for an experiment, and injected once into each of its rounds."""

    says: ClassVar[str]
    """What it does, for ``--help``."""
    after_share: ClassVar[float] = 1 / 3
    """It is injected when this share of a round's tickets has been acknowledged."""

    @classmethod
    @abstractmethod
    def fit(cls, service: Any) -> Any:
        """The service as the fault needs it, a ``launcher.Service``. Raises ``FaultUnfit``."""

    @abstractmethod
    def inject(self, server: Any) -> str:
        """Do it to the running server; returns what was done, for the report."""

    @abstractmethod
    def heal(self, server: Any) -> None:
        """Undo it; returns when it is undone."""


class Injection:
    """One fault in one round: waits until a part is sold, injects, waits, heals."""

    def __init__(self, fault: Fault, server: Any, folder: Path, capacity: int, lasts_s: float) -> None:
        self._fault = fault
        self._server = server
        self._folder = folder
        self._live = LiveCount(folder)
        self._due = max(1, int(capacity * fault.after_share))
        self._lasts_ns = int(lasts_s * 1e9)
        self._began_ns = 0
        self._done = ""
        self._healed = False

    @property
    def injected(self) -> bool:
        return self._began_ns > 0

    def step(self) -> None:
        """To be called again and again while the round runs."""
        if not self.injected:
            if self._live.read() >= self._due:
                self._began_ns = time.monotonic_ns()
                self._done = self._fault.inject(self._server)
        elif not self._healed and time.monotonic_ns() - self._began_ns >= self._lasts_ns:
            self.heal()

    def heal(self) -> None:
        """Undo what is not undone yet, and write down from when to when it was. Idempotent."""
        if self.injected and not self._healed:
            self._healed = True
            self._fault.heal(self._server)
            note(self._folder, Span(self._done, self._began_ns, time.monotonic_ns()))


def fault_class(name: str) -> type[Fault]:
    """The class of a fault of the registry; ``KeyError`` where there is none."""
    module_name, _, class_name = FAULTS[name].partition(":")
    found: type[Fault] = getattr(importlib.import_module(module_name), class_name)
    return found


def note(folder: Path, span: Span) -> None:
    """Add what was injected to the folder's ``faults.json``."""
    spans = [*read_faults(folder), span]
    (folder / FAULTS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(spans)) + b"\n")


def read_faults(folder: Path) -> list[Span]:
    """What was injected into the run of a results folder; nothing where nothing was noted."""
    try:
        return msgspec.json.decode((folder / FAULTS_FILE).read_bytes(), type=list[Span])
    except FileNotFoundError:
        return []
