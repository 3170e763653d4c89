"""kill -9 of this process at one of its calls that reach the disk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

CALLS = ("open", "write", "ftruncate", "fdatasync", "fsync", "link", "rename", "unlink", "mkdir")


def kill_at(number: int) -> None:
    """From now on this process is killed in the place of its ``number``-th call that reaches the disk. What is written
    is written in pieces, so that it is killed with half of it written too."""
    left = number
    write_all = os.write

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*given: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **more)

        return count

    os.write = lambda fd, content: write_all(fd, content[: max(150, len(content) // 2)])
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def killed_in_a_child(steps: Callable[[], object]) -> bool:
    """Take steps in another process, which may come to be killed; whether it was, and did not come to their end."""
    child = os.fork()
    if not child:
        status = 1
        try:
            steps()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"wait status {status}"
    return status == signal.SIGKILL
