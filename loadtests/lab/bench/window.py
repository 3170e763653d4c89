"""What the load generator is told, and what it tells: one window of load on one address."""

from __future__ import annotations

import msgspec

from loadtests.lab.history.generator_load import GeneratorLoad


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One window: so many clients, each of which sends the next request when it has the answer to the last."""

    port: int
    path: str
    clients: int
    warm_s: float = 0.0
    """Before the window: under load already, and not measured."""
    seconds: float = 1.0
    count: int = 0
    """If given, the window ends after so many requests, however long it takes."""
    pids: list[int] = []
    """The processes whose CPU time is read at the window's beginning and end."""
    batches: bool = False
    """Read from the answers which purchases were decided together."""
    patience_s: float = 15.0
    """How long nothing at all may arrive before the window is given up."""


class Window(msgspec.Struct, kw_only=True):
    """What came of it. ``told`` counts everything since the first request; all else is of the window alone."""

    seconds: float
    answers: dict[int, int]
    """By status."""
    told: dict[int, int]
    errors: dict[str, int] = {}
    """Connections that broke and answers that never came, by reason, since the first request."""
    unknown: int = 0
    """Requests that were sent and not answered: each may have been carried out."""
    latencies_us: list[int] = []
    """Of every answer within the window, in ascending order."""
    cpu_s: float = 0.0
    busy: GeneratorLoad
    """Of the load generator itself."""
    batch_sizes: dict[int, int] = {}
    """How many transactions decided so many purchases together."""
    held_ms: float | None = None
    """How long a transaction held the guard, on average."""

    def per_s(self, status: int) -> float:
        """Answers with this status a second."""
        return self.answers.get(status, 0) / self.seconds
