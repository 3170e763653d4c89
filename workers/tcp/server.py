"""The server as a program of its own: ``python -m workers.tcp.server``, started by ``serving``.

It inherits a bound listener, so no other program can take the port in between.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.lessons.common.processes import ChildFailed
from workers.lessons.common.resources import process_tree, tree_cpu_s
from workers.tcp import MODELS, Limits
from workers.tcp.conversation import CONVERSATIONS

# Threads reserve memory for their stack; the usual eight megabytes each are far more than a conversation needs.
_STACK_BYTES = 512 * 1024
_BACKLOG = 1024
_POLL_S = 0.02
_READY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class State:
    """The processes, threads, connections and memory of a server at one moment."""

    processes: int
    threads: int
    connections: int
    """Connections that any of its processes still has open."""
    memory_bytes: int
    """Its memory; on Linux a page that several processes share counts once."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def state(self) -> State:
        """Count processes, threads, connections and memory."""
        processes = threads = memory = 0
        connections: set[tuple[object, ...]] = set()
        for each in process_tree(self.pid):
            # A process that ends meanwhile is not counted.
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                memory += each.memory_full_info().pss if psutil.LINUX else each.memory_info().rss
                threads += each.num_threads()
                ends = [end for end in each.net_connections("tcp") if end.raddr and end.laddr[1] == self.port]
                connections.update(end.raddr for end in ends)
                processes += 1
        return State(processes, threads, len(connections), memory)

    def settled(self, within_s: float, back_to: State | None = None, least: int = 1) -> State:
        """Waits until no connection is left and the numbers of processes and threads stand still.

        These must be no more than in ``back_to``, and at least ``least`` threads: a process that has just been started
        stands as still as one that rests. After ``within_s`` the state is returned as it is then.
        """
        deadline = time.monotonic() + within_s
        before = None
        while True:
            state = self.state()
            fewer = back_to is None or (state.processes <= back_to.processes and state.threads <= back_to.threads)
            still = before is not None and (state.processes, state.threads) == (before.processes, before.threads)
            whole = state.threads >= least
            if (state.connections == 0 and fewer and still and whole) or time.monotonic() > deadline:
                return state
            before = state
            time.sleep(_POLL_S)

    def cpu_s(self) -> float:
        """Seconds of CPU that its living processes have used until now."""
        return tree_cpu_s(self.pid)


@contextlib.contextmanager
def serving(model: str, limits: Limits, folder: Path, conversation: str = "polite") -> Iterator[Server]:
    """A server on a free port of this machine, which is ready; at the end every process of it is killed."""
    from loadtests.lab.servers import process as processes

    reader, writer = os.pipe()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener, open(reader, "rb", 0) as ready:  # noqa: PTH123
        listener.bind(("127.0.0.1", 0))
        listener.listen(_BACKLOG)
        arguments = [model, conversation, str(listener.fileno()), str(writer), json.dumps(dataclasses.asdict(limits))]
        running = processes.start(
            [sys.executable, "-m", "workers.tcp.server", *arguments],
            log=folder / "tcp-server.log",
            environment=os.environ,
            directory=Path.cwd(),
            pass_fds=[listener.fileno(), writer],
        )
        try:
            os.close(writer)
            port: int = listener.getsockname()[1]
            # The server has the listener now. If it stayed open here, clients would still be queued after its end.
            listener.close()
            waiting = select.poll()  # select() itself takes no descriptor beyond 1,023
            waiting.register(ready, select.POLLIN)
            if not waiting.poll(_READY_WITHIN_S * 1e3) or not ready.read(1):
                raise ChildFailed(
                    f"the server did not start:\n{(folder / 'tcp-server.log').read_text(encoding='utf-8')[-2000:]}"
                )
            yield Server(port, running.pid)
        finally:
            processes.kill(running)


def _main() -> None:
    model, conversation, listener, ready, limits = sys.argv[1:]
    threading.stack_size(_STACK_BYTES)
    serve = MODELS[model].load()
    os.write(int(ready), b".")
    os.close(int(ready))
    serve(socket.socket(fileno=int(listener)), Limits(**json.loads(limits)), CONVERSATIONS[conversation])


if __name__ == "__main__":
    _main()
