"""The server as a program of its own: ``python -m workers.tcp.server``, started by ``Server``.

It gets a listener that is bound already, so no port can be taken by somebody else in between.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.lessons.programs import family, program
from workers.tcp import MODELS, Shape
from workers.tcp.conversation import CONVERSATIONS

# Threads reserve memory for their stack; the usual eight megabytes each are far more than a conversation needs.
_STACK_BYTES = 512 * 1024
_BACKLOG = 1024
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class State:
    """What a server consists of at one moment, all its processes together."""

    processes: int
    threads: int
    connections: int
    """Connections that some process of it still has open."""
    memory_bytes: int
    """Memory that would be free without it: what processes share counts once (Linux; elsewhere its own share)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int

    def state(self) -> State:
        """Count processes, threads, connections and memory."""
        processes = threads = memory = 0
        connections: set[tuple[object, ...]] = set()
        for each in family(self.pid):
            # One that ends while it is looked at is not counted.
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                memory += _memory(each)
                threads += each.num_threads()
                ends = [end for end in each.net_connections("tcp") if end.raddr and end.laddr[1] == self.port]
                connections.update(end.raddr for end in ends)
                processes += 1
        return State(processes, threads, len(connections), memory)

    def settled(self, within_s: float, back_to: State | None = None, least: int = 1) -> State:
        """The state when all have left: no connection, no more processes and threads than before, nothing moving.

        And not less than ``least`` threads: a process that has just been started may stand as still as one that rests.

        Or, after ``within_s``, the state as it is then.
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
        """Seconds of processor time that it has taken until now."""
        return sum(sum(each.cpu_times()[:2]) for each in family(self.pid))


@contextlib.contextmanager
def serving(model: str, shape: Shape, folder: Path, conversation: str = "polite") -> Iterator[Server]:
    """A server on a free port of this machine; at the end every process of it is killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(_BACKLOG)
        command = [sys.executable, "-m", "workers.tcp.server", model, conversation, str(listener.fileno())]
        with program(
            [*command, json.dumps(dataclasses.asdict(shape))],
            log=folder / "tcp-server.log",
            pass_fds=[listener.fileno()],
        ) as running:
            port: int = listener.getsockname()[1]
            # The program has it now; kept here too, clients would still be queued after the program has ended.
            listener.close()
            yield Server(port, running.pid)


def _memory(process: psutil.Process) -> int:
    taken: int = process.memory_full_info().pss if psutil.LINUX else process.memory_info().rss
    return taken


def _main() -> None:
    model, conversation, descriptor, shape = sys.argv[1:]
    threading.stack_size(_STACK_BYTES)
    listener = socket.socket(fileno=int(descriptor))
    MODELS[model].load()(listener, Shape(**json.loads(shape)), CONVERSATIONS[conversation])


if __name__ == "__main__":
    _main()
