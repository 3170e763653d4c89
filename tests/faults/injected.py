"""A disk that refuses: the system calls of a running server fail, as the kernel would let them, while a block lasts.

What strace makes fail is the call itself, so it makes no difference whether Python or SQLite's library made it. It is
attached to the workers and let go of them again; the calls that fail are the ones that reach the server's data.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from system_calls import refuse_without_strace
from typed import Typed, wait_for

from loadtests.lab.servers.resources import children_of

WRITES = "write,pwrite64,writev,pwritev"
SYNCS = "fsync,fdatasync"


@contextlib.contextmanager
def failing(server: Typed, calls: str, error: str) -> Iterator[None]:
    """The workers' ``calls``, and those of what they started, fail with ``error`` inside this block:
    ``failing(server, SYNCS, "EIO")``."""
    refuse_without_strace()
    workers = [each.pid for each in children_of(server.pid, recursive=True)]
    attach = [option for worker in workers for option in ("-p", str(worker))]
    with tempfile.TemporaryFile("w+b") as said:
        tracer = subprocess.Popen(
            ["strace", "-f", *attach, "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"],
            stderr=said,
            start_new_session=True,
        )
        try:
            wait_for(lambda: all(_traced_by(worker) == tracer.pid for worker in workers), "strace at the workers")
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
    wait_for(lambda: all(_traced_by(worker) == 0 for worker in workers), "strace to let go")


def _traced_by(pid: int) -> int:
    """Who traces all threads of a process; 0 for nobody, -1 where they are not of one mind yet."""
    tracers = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        tracers.add(int(lines["TracerPid"]))
    return tracers.pop() if len(tracers) == 1 else -1
