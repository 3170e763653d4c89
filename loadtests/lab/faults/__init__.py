"""Faults that are injected into a running sale, and healed. A fault is one file and one line in ``FAULTS``.

The results record in ``faults.json`` what was injected and when, on the history's clock; the report draws it as bands.
The verdict takes no account of it: a fault is no excuse for a seat that was sold twice.
"""

from __future__ import annotations

import contextlib
import pkgutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from loadtests.lab.history.live_count import LiveCount

FAULTS: dict[str, str] = {
    "pause": "loadtests.lab.faults.pause:Pause",
    "kill-worker": "loadtests.lab.faults.kill_worker:KillWorker",
    "kill-node": "loadtests.lab.faults.kill_node:KillNode",
    "cut-node": "loadtests.lab.faults.cut_node:CutNode",
    "restart-engine": "loadtests.lab.faults.restart_engine:RestartEngine",
    "kill-engine": "loadtests.lab.faults.kill_engine:KillEngine",
}
FAULTS_FILE = "faults.json"
SOLD_FIRST = 20
"""When this many of a round's tickets are sold, the sale is well under way."""
_POLL_S = 0.01


class FaultUnfit(Exception):
    """The fault cannot be injected into such an experiment; the message says what it needs."""


class NotInjected(Exception):
    """The round ended before the fault could be injected."""


class Happened(msgspec.Struct, frozen=True):
    """What was injected: from when to when, in nanoseconds of the history's clock, and in words."""

    name: str
    begin_ns: int
    end_ns: int
    text: str = ""
    in_effect_ns: tuple[int, int] | None = None
    """From when to when it was surely in effect: after its injection, before the start of healing."""


class Fault(ABC):
    """One kind of fault, for one experiment: a context manager, injected once into each of its rounds."""

    name: ClassVar[str]
    sold_first: ClassVar[int] = 0
    """How many tickets of a round must be sold before it can be injected."""

    def adapt(self, service: Any) -> Any:
        """The service's settings as the fault needs them. Raises ``FaultUnfit``."""
        return service

    @abstractmethod
    def inject(self, server: Any, over: threading.Event) -> Happened:
        """Wait for the right moment, inject the fault, heal it; ``over`` is set at the end of the round.

        Called in a thread of its own. Raises ``NotInjected``.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def wait_for_sales(server: Any, over: threading.Event) -> None:
    """Wait until ``SOLD_FIRST`` of the round's tickets are sold. Raises ``NotInjected``."""
    live = LiveCount(server.folder)
    while live.read() < SOLD_FIRST:
        if over.wait(_POLL_S):
            raise NotInjected(f"the round was over before {SOLD_FIRST} of its tickets were sold")


class TimedFault(Fault):
    """A fault that begins when some of a round's tickets are sold, and is healed some time later."""

    sold_first: ClassVar[int] = SOLD_FIRST
    lasts_s: ClassVar[float] = 1.0

    def inject(self, server: Any, over: threading.Event) -> Happened:
        wait_for_sales(server, over)
        begin_ns = time.monotonic_ns()
        try:
            text = self.begin(server)
            done_ns = time.monotonic_ns()
            over.wait(self.lasts_s)
            healing_ns = time.monotonic_ns()
        finally:
            self.heal(server)
        return Happened(self.name, begin_ns, time.monotonic_ns(), text, (done_ns, healing_ns))

    @abstractmethod
    def begin(self, server: Any) -> str:
        """Inject it; returns what was done, in words."""

    @abstractmethod
    def heal(self, server: Any) -> None:
        """Undo it, also where it was injected only in part; returns when it is undone."""


def refuse_unfit(name: str, service: Any, tickets: int) -> None:
    """Check before the start that a fault can be injected into such a service and so small a sale.

    Raises ``FaultUnfit``.
    """
    with fault_named(name) as fault:
        fault.adapt(service)
        if tickets < fault.sold_first:
            raise FaultUnfit(
                f"the fault {name} begins when {fault.sold_first} tickets are sold, and there are {tickets}: say "
                "--capacity 200."
            )


def fault_named(name: str) -> Fault:
    """A fault of the registry, to be entered as a context manager. Raises ``KeyError`` for an unknown name."""
    fault: Fault = pkgutil.resolve_name(FAULTS[name])()
    return fault


@contextlib.contextmanager
def injected(fault: Fault | None, server: Any, happened: list[Happened]) -> Iterator[None]:
    """Inject the fault into the round that runs in this block, and add what was injected to ``happened``.

    At the end of a block that did not fail, raises ``NotInjected`` or the error of the injection or the healing.
    """
    if fault is None:
        yield
        return
    over = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="lastseat-fault") as thread:
        injection = thread.submit(fault.inject, server, over)
        try:
            yield
        finally:
            over.set()
    happened.append(injection.result())


def keep(folder: Path, happened: Sequence[Happened]) -> None:
    (folder / FAULTS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(happened)) + b"\n")


def read(folder: Path) -> list[Happened]:
    """The faults of a results folder; empty where none was written down."""
    try:
        return msgspec.json.decode((folder / FAULTS_FILE).read_bytes(), type=list[Happened])
    except FileNotFoundError:
        return []
