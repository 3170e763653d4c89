"""One small TCP server that answers in capitals, under each way of doing many things at once.

``MODELS`` maps a name to a function ``serve(listener, limits, converse)`` that never returns: it accepts connections
and calls ``converse`` for each (see ``conversation``), which knows nothing of processes, threads or greenlets. The
models differ only in the connections that they talk to at the same time.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

Conversation = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest numbers of processes, threads and connections of a model; each model uses those that it needs."""

    most_processes: int = 16
    """The most processes that are alive, if each connection has one of its own."""
    most_connections: int = 1000
    """The most threads, or greenlets of a process, that are alive, if each connection has one of its own."""
    pool: int = 8
    """The number of workers in a pool."""
    processes: int = 2
    threads: int = 2
    """The processes, and the threads in each, if all three are combined."""
    start: str = "fork"
    """The start method of processes: ``fork`` or ``spawn``."""

    def places(self, model: str) -> int:
        """The number of connections that the model talks to at once. A later one waits until another hangs up."""
        if model == "a process each":
            return self.most_processes
        return self.pool if MODELS[model].pooled else self.most_connections


Serve = Callable[[socket.socket, Limits, Conversation], None]


@dataclass(frozen=True, slots=True)
class Model:
    """One way to serve many at once."""

    function: str
    pooled: bool = False
    """True if it has a fixed number of workers, started before the first connection."""
    standing: Callable[[Limits], int] = lambda _: 1
    """The least number of threads, in all processes, before the first connection."""

    def load(self) -> Serve:
        """The model's ``serve``; imported only where it runs, for gevent must not come into other processes."""
        module, _, function = self.function.partition(":")
        serve: Serve = getattr(importlib.import_module(module), function)
        return serve


MODELS: dict[str, Model] = {
    "a process each": Model("workers.tcp.one_each:serve_by_processes"),
    "a thread each": Model("workers.tcp.one_each:serve_by_threads"),
    "process pool": Model("workers.tcp.pools:serve_by_processes", pooled=True),
    "thread pool": Model("workers.tcp.pools:serve_by_threads", pooled=True),
    "coroutines": Model("workers.tcp.coroutines:serve"),
    "all three": Model(
        "workers.tcp.all_three:serve", standing=lambda limits: 1 + limits.processes * (1 + limits.threads)
    ),
}
