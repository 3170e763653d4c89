"""What a fault is: a class with a name, what it needs and fits, and how it is injected and healed."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from loadtests.lab.faults.happened import Happened

SOLD_FIRST = 20
"""When this many of a round's tickets are sold, the sale is well under way."""
_POLL_S = 0.05


class FaultUnfit(Exception):
    """The fault cannot be injected into such an experiment; the message says what it needs."""


class NotInjected(Exception):
    """The fault did not happen: the round ended before, or the machine did not do it. The message says which."""


def refuse_several_nodes(fault: str, service: Any) -> None:
    """Raise ``FaultUnfit`` where the office has several nodes."""
    if service.nodes > 1:
        raise FaultUnfit(f"the fault {fault} is for one node: leave --nodes away.")


class Fault(ABC):
    """One kind of fault, for one experiment: a context manager, injected into each of its rounds, once or more often.

    Nobody injects the same object twice at the same time.
    """

    name: ClassVar[str]
    says: ClassVar[str]
    """What it does, in one sentence."""
    takes: ClassVar[str] = "nothing but a service to break"
    """What it needs, in a few words."""
    sold_first: ClassVar[int] = SOLD_FIRST
    """How many tickets of a round are sold before it is injected, where the user names no moment."""

    @classmethod
    def needs(cls) -> str:
        """What this machine lacks for it, with the remedy; empty where it can be injected here."""
        return ""

    @classmethod
    def needs_under(cls, store: str) -> str:
        """What more this machine lacks for it under a store, with the remedy; empty where nothing."""
        return ""

    @classmethod
    def of_target(cls) -> type[Fault]:
        """The class that does it to another service that the lab has started. Raises ``FaultUnfit``."""
        raise FaultUnfit(f"the fault {cls.name} is done to the ticket office alone, and not to a target.")

    def adapt(self, service: Any) -> Any:
        """The office's settings as the fault needs them. Raises ``FaultUnfit``. It is not asked about a target."""
        return service

    def refuse_beside(self, others: Iterable[Fault]) -> None:
        """Raise ``FaultUnfit`` where it cannot be in one run with these."""
        return

    def prepare(self, folder: Path) -> None:
        """Make, in the run's folder, what has to be there before the server starts; ``__exit__`` ends it."""
        return

    def equip(self, server: Any) -> None:
        """Give a server that has just started what has to be there when the sale begins; ``__exit__`` ends it.

        Raises ``NotInjected``.
        """
        return

    def variables(self, folder: Path) -> Mapping[str, str]:
        """What more the processes of a server in this folder have in their environment."""
        return {}

    def address(self, url: str) -> str:
        """The address that the buyers get in the place of the server's. Raises ``FaultUnfit``; ``__exit__`` ends it."""
        return url

    @abstractmethod
    def inject(self, server: Any, over: threading.Event) -> Happened:
        """Inject the fault now and heal it; ``over`` is set at the end of the round, and then it ends early.

        Called in a thread of its own. Raises ``NotInjected``.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class TimedFault(Fault):
    """A fault that is healed some time after its injection."""

    lasts_s: ClassVar[float] = 1.0

    def inject(self, server: Any, over: threading.Event) -> Happened:
        begin_ns = time.monotonic_ns()
        try:
            text = self.begin(server)
            done_ns = time.monotonic_ns()
            seen = self.last(over)
            healing_ns = time.monotonic_ns()
        finally:
            self.heal(server)
        words = f"{text}; {seen}" if seen else text
        return Happened(self.name, begin_ns, time.monotonic_ns(), words, (done_ns, healing_ns))

    @abstractmethod
    def begin(self, server: Any) -> str:
        """Inject it; returns what was done, in words. Raises ``NotInjected``."""

    def last(self, over: threading.Event) -> str:
        """Wait as long as it lasts; returns what was seen of it meanwhile, in words."""
        over.wait(self.lasts_s)
        return ""

    def wait_for_effect(self, over: threading.Event, seen: Callable[[], object]) -> None:
        """Wait as long as it lasts, and longer where nothing was ``seen`` of it by then, until the round is over.

        Another fault may keep everybody from selling meanwhile.
        """
        over.wait(self.lasts_s)
        while not seen() and not over.wait(_POLL_S):
            pass

    @abstractmethod
    def heal(self, server: Any) -> None:
        """Undo it, also where it was injected only in part; returns when it is undone."""
