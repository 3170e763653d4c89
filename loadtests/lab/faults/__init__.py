"""Faults that are injected into a running sale, and healed. A fault is one file and one line in ``FAULTS``.

What happened stands in the results as ``faults.json``, from when to when on the history's clock, and as bands in the
report. The verdict knows nothing of it: a fault is no excuse for a seat that was sold twice.
"""

from __future__ import annotations

import importlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from loadtests.lab.live import LiveCount

FAULTS: dict[str, str] = {
    "pause": "loadtests.lab.faults.pause:Pause",
    "kill-node": "loadtests.lab.faults.kill_node:KillNode",
    "cut-node": "loadtests.lab.faults.cut_node:CutNode",
    "restart-engine": "loadtests.lab.faults.restart_engine:RestartEngine",
    "kill-engine": "loadtests.lab.faults.kill_engine:KillEngine",
}
FAULTS_FILE = "faults.json"
_POLL_S = 0.01


class FaultUnfit(Exception):
    """The fault cannot be injected into such an experiment; the message says what it needs."""


class NotInjected(Exception):
    """There was no occasion for the fault before the round was over."""


class Happened(msgspec.Struct, frozen=True):
    """What was injected: from when to when, in nanoseconds of the history's clock, and in words."""

    name: str
    begin_ns: int
    end_ns: int
    text: str = ""


class Fault(ABC):
    """One kind of fault, for one experiment: a context manager, injected once into each of its rounds."""

    name: ClassVar[str]

    def adapt(self, service: Any) -> Any:
        """The ``launcher.Service`` as the fault needs it. Raises ``FaultUnfit``."""
        return service

    @abstractmethod
    def inject(self, server: Any, over: threading.Event) -> Happened:
        """Wait for the occasion, do it, heal it; ``over`` is set when the round has ended.

        Called by the thread that started the servers, while another one waits for the load: on Linux a program ends
        with the *thread* that started it, so one that were started again in a thread of its own would end with that.
        Raises ``NotInjected``.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class TimedFault(Fault):
    """A fault that begins when a part of a round's tickets is sold, and is healed some time later."""

    after_share: ClassVar[float] = 1 / 4
    lasts_s: ClassVar[float] = 1.0

    def inject(self, server: Any, over: threading.Event) -> Happened:
        live = LiveCount(server.folder)
        # Of the part that is being written: rounds that have ended left none.
        while live.read() < max(1, server.capacity * self.after_share):
            if over.wait(_POLL_S):
                raise NotInjected(f"the round was over before {self.after_share:.0%} of its tickets were sold")
        begin_ns = time.monotonic_ns()
        try:
            text = self.begin(server)
            over.wait(self.lasts_s)
        finally:
            self.heal(server)
        return Happened(self.name, begin_ns, time.monotonic_ns(), text)

    @abstractmethod
    def begin(self, server: Any) -> str:
        """Do it; returns what was done."""

    @abstractmethod
    def heal(self, server: Any) -> None:
        """Undo it, what is not done too; returns when that is so."""


def fault_class(name: str) -> type[Fault]:
    """The class of a fault of the registry; ``KeyError`` where there is none."""
    module_name, _, class_name = FAULTS[name].partition(":")
    found: type[Fault] = getattr(importlib.import_module(module_name), class_name)
    return found


def while_waiting(wait: Callable[[], object], inject: Callable[[threading.Event], None]) -> None:
    """Call ``inject`` here while ``wait`` waits in a thread, at whose end ``over`` is set; returns when both are done.

    What either raises is raised here.
    """
    over, raised = threading.Event(), []

    def waiting() -> None:
        try:
            wait()
        except BaseException as error:
            raised.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=waiting, daemon=True)
    thread.start()
    inject(over)
    thread.join()
    if raised:
        raise raised[0]


def note(folder: Path, happened: Happened) -> None:
    """Add what was injected to the folder's ``faults.json``."""
    (folder / FAULTS_FILE).write_bytes(
        msgspec.json.format(msgspec.json.encode([*read_faults(folder), happened])) + b"\n"
    )


def read_faults(folder: Path) -> list[Happened]:
    """What was injected into the run of a results folder; nothing where nothing was noted."""
    try:
        return msgspec.json.decode((folder / FAULTS_FILE).read_bytes(), type=list[Happened])
    except FileNotFoundError:
        return []
