"""A disk that refuses: the system calls of a running server fail, as the kernel would let them, while a block lasts.

The calls that fail are the ones that reach the server's data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from typed import Typed

from loadtests.lab.faults.disk.calls import injected
from loadtests.lab.servers.resources import children_of


@contextlib.contextmanager
def failing(server: Typed, calls: str, error: str) -> Iterator[None]:
    """The workers' ``calls``, and those of what they started, fail with ``error`` inside this block:
    ``failing(server, SYNCS, "EIO")``."""
    workers = [each.pid for each in children_of(server.pid, recursive=True)]
    with injected(workers, calls, f"error={error}"):
        yield
