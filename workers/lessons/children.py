"""Child processes that end with the lesson: whatever happens to it, nothing is left running.

``in_child`` runs one function in a fresh interpreter (the only honest place for gevent's patch, and for measuring what
something costs); ``Crew`` starts processes of ``multiprocessing`` and ends those that are left when its block ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any

_PR_SET_PDEATHSIG = 1
MOST_PROCESSES = 50
# A spawned process takes ten megabytes of its own: twenty of them leave a machine of 512 MiB alive.
MOST_SPAWNED = 20


class ChildFailed(Exception):
    """The child ended without a result; the message ends with what it said."""


def in_child(call: str, *arguments: Any, gevent: bool = False, timeout_s: float = 30, python: str | None = None) -> Any:
    """``module:function(*arguments)`` in a fresh interpreter; arguments and result pass as JSON.

    With ``gevent`` the child is monkey-patched before it imports anything. Errors: ``ChildFailed``, also past
    ``timeout_s``; the child and all its own children are dead then.
    """
    command = [python or sys.executable, "-m", "workers.lessons.children", "gevent" if gevent else "plain", call]
    output = _last_words(command, arguments, call, timeout_s)
    return json.loads(output.rpartition("\x1e")[2])


def in_interpreter(python: str, script: Path, argument: Any, *, timeout_s: float = 30) -> Any:
    """A script under another interpreter, isolated: ``argument`` on its standard input and its answer as JSON.

    Errors: ``ChildFailed``, as for ``in_child``; also where there is no such interpreter.
    """
    try:
        return json.loads(
            _last_words([python, "-I", str(script)], argument, f"{script.name} under {python}", timeout_s)
        )
    except (OSError, ValueError) as error:
        raise ChildFailed(f"{script.name} under {python}: {error}") from None


def _last_words(command: Sequence[str], argument: Any, name: str, timeout_s: float) -> str:
    """What a program printed in the end; it and all that it started are dead then."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(json.dumps(argument), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"{name} did not end within {timeout_s:g} s") from None
    finally:
        # Its whole group: also what it started itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.returncode != 0:
        raise ChildFailed(f"{name} ended with status {child.returncode}:\n{errors[-2000:]}")
    return output


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel end this process when its parent is gone (Linux); elsewhere it does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)


class Crew:
    """Processes of one start method (``fork`` or ``spawn``), at most ``MOST_PROCESSES`` alive; a context manager."""

    def __init__(self, method: str) -> None:
        self.context: ForkContext | SpawnContext = multiprocessing.get_context(method)  # type: ignore[assignment]
        self.members: list[BaseProcess] = []

    def start(self, target: Callable[..., None], *arguments: Any) -> BaseProcess:
        """Start a process. Under ``spawn`` the target must be importable: a function at the top of a module."""
        if sum(member.is_alive() for member in self.members) >= MOST_PROCESSES:
            raise ValueError(f"a lesson has at most {MOST_PROCESSES} processes alive")
        member = self.context.Process(target=_obey, args=(target, arguments), daemon=True)
        # Interrupted between the two, the process would live on and nobody would know of it.
        with undisturbed():
            member.start()
            self.members.append(member)
        return member

    def join(self, timeout_s: float) -> bool:
        """Wait for all; whether all have ended."""
        for member in self.members:
            member.join(timeout_s)
        return not any(member.is_alive() for member in self.members)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for member in self.members:
            if member.is_alive():
                member.kill()
        for member in self.members:
            member.join()
            member.close()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """In the main thread, let Ctrl-C and the time limit take effect only when the block has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for each in came:
        signal.raise_signal(each)


def _obey(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        return  # it died before it could be asked for
    # Ctrl-C is the lesson's business; it ends its crew itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target(*arguments)


def _main() -> None:
    die_with_parent()
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    module_name, _, function = sys.argv[2].partition(":")
    result = getattr(importlib.import_module(module_name), function)(*json.loads(sys.stdin.read()))
    # A record separator first: whatever else was printed stands before it.
    sys.stdout.write("\x1e" + json.dumps(result))
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
