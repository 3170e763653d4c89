"""One small TCP server that answers in capitals, under each way of doing many things at once.

``MODELS`` maps a name to one file. Each has one function, ``serve(listener, shape, converse)``, that never returns:
it accepts connections and has every one of them talked to by ``converse`` (see ``conversation``), which knows nothing
of processes, threads or greenlets. What the models differ in is only who talks to whom at the same time.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

Conversation = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a model may become; each takes what it needs of it."""

    most_processes: int = 16
    """Most processes alive where each connection has one of its own."""
    most_connections: int = 1000
    """Most threads, or greenlets of a process, alive where each connection has one of its own."""
    pool: int = 8
    """Workers of a pool."""
    processes: int = 2
    threads: int = 2
    """Processes, and threads in each, where all three are combined."""
    start: str = "fork"
    """How processes are started: ``fork`` or ``spawn``."""

    def places(self, model: str) -> int:
        """How many connections the model talks to at once; whoever comes later waits until one hangs up."""
        if model == "a process each":
            return self.most_processes
        return self.pool if MODELS[model].pooled else self.most_connections


Serve = Callable[[socket.socket, Shape, Conversation], None]


@dataclass(frozen=True, slots=True)
class Model:
    """One way to serve many at once."""

    module: str
    pooled: bool = False
    """Whether the workers are there before the connections, a fixed number of them."""
    standing: Callable[[Shape], int] = lambda _: 1
    """Threads of all processes that are there before the first connection, at least."""

    def load(self) -> Serve:
        """The model's ``serve``; imported only where it runs, for gevent must not come into other processes."""
        serve: Serve = importlib.import_module(self.module).serve
        return serve


MODELS: dict[str, Model] = {
    "a process each": Model("workers.tcp.process_each"),
    "a thread each": Model("workers.tcp.thread_each"),
    "process pool": Model("workers.tcp.process_pool", pooled=True),
    "thread pool": Model("workers.tcp.thread_pool", pooled=True),
    "coroutines": Model("workers.tcp.coroutines"),
    "all three": Model("workers.tcp.all_three", standing=lambda shape: 1 + shape.processes * (1 + shape.threads)),
}
