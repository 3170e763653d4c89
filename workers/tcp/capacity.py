"""The capacity of a model: clients connect all at once, stay, talk, hang up."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.tcp import MODELS, Limits
from workers.tcp.clients import TcpClient, connected, exchange, take_answers
from workers.tcp.server import Server, State, serving

# The time to wait for answers that a full pool should not send.
_LINGER_S = 0.2
_GONE_WITHIN_S = 5.0
_FILES_BESIDE = 100


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The measurements of one model."""

    asked: int
    """The clients that connected."""
    held: int
    """The clients that got an answer while all were connected."""
    served_later: int
    right: int
    wrong: int
    messages_s: float
    rest: State
    """The server before the clients came."""
    full: State
    left: int
    """Connections, processes or threads that did not go with the clients."""

    @property
    def kib_a_connection(self) -> float:
        return max(0.0, (self.full.memory_bytes - self.rest.memory_bytes) / max(1, self.held) / 1024)


def measure_model(model: str, connections: int, rounds: int, limits: Limits, folder: Path) -> ModelResult:
    """All clients connect at once, stay, talk, hang up."""
    places, pooled = limits.places(model), MODELS[model].pooled
    asked = connections if pooled else min(connections, places)
    expected = min(asked, places)
    with serving(model, limits, folder) as server:
        rest = _warm_up(server, expected if pooled else 1, MODELS[model].standing(limits))
        with connected(server.port, asked) as clients:
            held = exchange(clients, expected, linger_s=_LINGER_S if asked > expected else 0.0)
            full = server.state()
            lasted_s = []
            for _ in range(rounds):
                began = time.perf_counter()
                exchange(held)
                lasted_s.append(time.perf_counter() - began)
            served_later = _serve_the_rest(clients, held, places)
        return ModelResult(
            asked=asked,
            held=len(held),
            served_later=served_later,
            right=sum(each.right for each in clients),
            wrong=sum(each.wrong for each in clients),
            messages_s=len(held) / statistics.median(lasted_s),
            rest=rest,
            full=full,
            left=_growth(server.settled(_GONE_WITHIN_S, back_to=rest), rest),
        )


def _warm_up(server: Server, workers: int, least: int) -> State:
    """Sends a message to every worker, so that all have started and imported what they need. Returns the state."""
    with connected(server.port, workers) as clients:
        exchange(clients)
    return server.settled(_GONE_WITHIN_S, least=least)


def _growth(now: State, before: State) -> int:
    """The number of connections, processes or threads that were not there before."""
    return max(now.connections, now.processes - before.processes, now.threads - before.threads)


def _serve_the_rest(clients: list[TcpClient], answered: list[TcpClient], places: int) -> int:
    """Hangs up the answered clients, so that the waiting ones get a turn. Returns the number of those that got one."""
    waiting = [each for each in clients if each not in answered]
    served = 0
    while waiting and answered:
        for each in answered:
            each.hang_up()
        answered = take_answers(waiting, min(places, len(waiting)))
        served += len(answered)
        waiting = [each for each in waiting if each not in answered]
    return served


@contextlib.contextmanager
def enough_files(connections: int) -> Iterator[None]:
    """Lets this process and its children open more files. Raises ``ValueError`` if that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ValueError(f"{connections} connections need {needed} open files, and this process may have {hard}.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
