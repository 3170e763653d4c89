"""The interface between clients and services: how a service is asked, and how its answers are read.

A client decides what to ask and records it; an ``Adapter`` knows the paths, the bodies and the words. There are
two: the office's own (``protocol.office``) and that of a target file (``target.adapter``).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.seat_map import SeatMap


class Request(msgspec.Struct, frozen=True):
    """One HTTP request; ``name`` is the line in locust's statistics that it counts for."""

    method: str
    path: str
    name: str
    headers: dict[str, str] = {}
    body: bytes | None = None
    after_s: float = 0.0
    """How long to wait before it is sent."""

    def address(self, base: str) -> str:
        """Where it is sent: to its path at ``base``, unless that is a whole address."""
        return self.path if "://" in self.path else base + self.path


class Reply(NamedTuple):
    """What came of a request: an answer, or the ``error`` without which there was none."""

    status: int
    body: bytes | None
    headers: Any
    """By name, in any case; with ``get_all`` where a header may stand several times."""
    at_ns: int
    error: BaseException | None = None


@dataclass
class BuyerIdentity:
    """Who asks: a name, a number, and what the service has told this buyer and nobody else."""

    name: str
    number: int = 0
    is_known: bool = False
    """Whether the service knows this buyer: has logged them in, for example."""
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    cookies: Any = None


@dataclass
class Exchange:
    """One asking: the operations that it is about, who asks, and what of it the history is to have."""

    lines: list[Operation]
    buyer: BuyerIdentity
    url: str = ""
    """Where the service is."""
    records: list[Operation] = dataclasses.field(default_factory=list)
    """The lines of the history; by default those that were asked for. Kept right at every moment of a conversation:
    it may be broken off."""
    seat_map: SeatMap | None = None
    """What the buyer knows of the seats, where it is to be brought up to date by a read."""
    word: str = ""
    """For locust's statistics: why it failed, if it did."""

    def __post_init__(self) -> None:
        self.records = self.lines


Conversation = Generator[Request, Reply, None]
"""Yields requests, is sent what came of each."""


class Adapter(ABC):
    """Speaks the protocol of one kind of service."""

    @abstractmethod
    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """Put an answer's outcome and facts into the operation; returns a word for the error, if it is one."""

    @abstractmethod
    def converse(self, exchange: Exchange) -> Conversation:
        """Ask, and put the outcome into the exchange's lines."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What to say beside the verdict."""

    def buyer(self, process: int) -> BuyerIdentity:
        """A buyer that the service has not seen yet."""
        return BuyerIdentity(f"buyer-{process}", process)

    def dismiss(self, buyer: BuyerIdentity) -> None:
        """This buyer will not ask any more; another arrival may be the same person. Nobody remembers them here."""
        return

    def key(self, name: str) -> str:
        """The key of a purchase whose name is unique in its run."""
        return name

    def prepare(self, exchange: Exchange) -> Generator[Request, Reply, bool]:
        """What a buyer does before asking, which is no part of the operation. Whether there is anything to ask."""
        yield from ()
        return True

    def may_ask_again(self, op: str) -> bool:
        """Whether the service recognizes a repeated request by its key."""
        return True
