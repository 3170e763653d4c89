"""The interface between clients and services: how a service is asked, and how its answers are read.

A client decides what to ask and records it; an ``Adapter`` knows the paths, the bodies and the words. There are
two: the office's own (``protocol.office``) and that of a target file (``target.adapter``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loadtests.lab.history.recorder import Operation


class Request(msgspec.Struct, frozen=True):
    """One HTTP request; ``name`` is the line in locust's statistics that it counts for."""

    method: str
    path: str
    name: str
    headers: dict[str, str] = {}
    body: bytes | None = None


class Adapter(ABC):
    """Speaks the protocol of one kind of service. Counts what could not be read in its answers."""

    def __init__(self) -> None:
        self._unreadable: Counter[tuple[str, str]] = Counter()

    def unreadable(self, op: str, fields: Iterable[str]) -> None:
        """Count fields of an answer that were there and could not be read."""
        for field in fields:
            self._unreadable[op, field] += 1

    @abstractmethod
    def request(self, operation: Operation, buyer: str) -> Request:
        """The request that asks for the operation."""

    @abstractmethod
    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """Put an answer's outcome and facts into the operation; returns a word for the error, if it is one."""

    def request_together(self, lines: Sequence[Operation], buyer: str) -> Request:
        """The request for one cart, a line for each of its events."""
        raise NotImplementedError("only the office's own adapter knows carts")

    def understand_together(
        self, lines: Sequence[Operation], status: int, body: bytes | None, headers: Mapping[str, str]
    ) -> str:
        """As ``understand``, for all lines of a cart."""
        raise NotImplementedError("only the office's own adapter knows carts")

    def may_ask_again(self, op: str) -> bool:
        """Whether the service recognizes a repeated request by its key."""
        return True

    def notes(self) -> list[str]:
        """What to say beside the verdict."""
        return [
            f"{count:,} answers to {op} had a `{field}` that cannot be read; they count, and the field is left out"
            for (op, field), count in self._unreadable.items()
        ]
