"""One model tried: so many clients connect at once, stay, talk, hang up."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.tcp import MODELS, Shape
from workers.tcp.clients import Client, connected, exchange, take_answers
from workers.tcp.server import Server, State, serving

# How long it is listened for answers that should not come, from a pool that is full.
_LINGER_S = 0.2
_GONE_WITHIN_S = 5.0
_FILES_BESIDE = 100


@dataclass(slots=True)
class Trial:
    """What one model did."""

    asked: int
    held: int = 0
    served_later: int = 0
    right: int = 0
    wrong: int = 0
    messages_s: float = 0.0
    rest: State | None = None
    full: State | None = None
    left: int = 0

    @property
    def bytes_a_connection(self) -> float:
        if self.rest is None or self.full is None or not self.held:
            return 0.0
        return max(0.0, (self.full.memory_bytes - self.rest.memory_bytes) / self.held)


def try_model(model: str, connections: int, rounds: int, shape: Shape, folder: Path) -> Trial:
    """Connect so many clients at once; all stay, talk, hang up."""
    places = shape.places(model)
    trial = Trial(asked=connections if MODELS[model].pooled else min(connections, places))
    with serving(model, shape, folder) as server:
        pooled, least = MODELS[model].pooled, MODELS[model].standing(shape)
        trial.rest = _warm_up(server, min(trial.asked, places) if pooled else 1, least)
        with connected(server.port, trial.asked) as clients:
            expected = min(trial.asked, places)
            held = exchange(clients, expected, linger_s=_LINGER_S if trial.asked > expected else 0.0)
            trial.held = len(held)
            trial.full = server.state()
            lasted_s = []
            for _ in range(rounds):
                began = time.perf_counter()
                exchange(held)
                lasted_s.append(time.perf_counter() - began)
            trial.messages_s = trial.held / statistics.median(lasted_s)
            trial.served_later = _let_the_others_in(clients, held, places)
        trial.right, trial.wrong = sum(each.right for each in clients), sum(each.wrong for each in clients)
        trial.left = _more(server.settled(_GONE_WITHIN_S, back_to=trial.rest), trial.rest)
    return trial


def _warm_up(server: Server, workers: int, least: int) -> State:
    """One message to every worker, so that all are there and have imported what they need; the state after it."""
    with connected(server.port, workers) as clients:
        exchange(clients)
    return server.settled(_GONE_WITHIN_S, least=least)


def _more(now: State, before: State) -> int:
    """How many connections, processes or threads are there that were not there before."""
    return max(now.connections, now.processes - before.processes, now.threads - before.threads)


def _let_the_others_in(clients: list[Client], answered: list[Client], places: int) -> int:
    """Hang up those who were answered, so that those who wait get their turn; how many got one."""
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
    """Let this process and its children have so many connections open. Raises ``ValueError`` where it may not."""
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
