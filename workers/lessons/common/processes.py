"""The processes and threads of a lesson: whatever happens to it, nothing is left running.

``call_in_child`` runs one function in a fresh interpreter: gevent's patch must not reach the lesson's own process, and
costs are measured undisturbed there. ``ProcessGroup`` starts processes of ``multiprocessing``.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
PATIENCE_S = 30.0
"""How long a lesson waits for whatever another process or thread does; only what went wrong takes longer."""
MOST_PROCESSES = 50
# A spawned process takes ten megabytes of its own: twenty of them leave a machine of 512 MiB alive.
MOST_SPAWNED = 20


class ChildFailed(Exception):
    """A child process ended without a result. The message ends with the child's last output."""


def call_in_child(call: str, *arguments: Any, gevent: bool = False, timeout_s: float = PATIENCE_S) -> Any:
    """Calls ``module:function(*arguments)`` in a fresh interpreter; arguments and result pass as JSON.

    With ``gevent`` the child is monkey-patched before it imports anything else. Raises ``ChildFailed``, also past
    ``timeout_s``; the child and all its own children are dead then.
    """
    command = [sys.executable, "-m", __name__, "gevent" if gevent else "plain", call]
    output = _output_of(command, arguments, call, timeout_s)
    return json.loads(output.rpartition("\x1e")[2])


def run_script(python: str, script: Path, argument: Any) -> Any:
    """Runs a script under another interpreter, isolated: ``argument`` on its standard input, its answer as JSON.

    Raises ``ChildFailed`` as ``call_in_child`` does, and where there is no such interpreter.
    """
    name = f"{script.name} under {python}"
    try:
        return json.loads(_output_of([python, "-I", str(script)], argument, name, PATIENCE_S))
    except (OSError, ValueError) as error:
        raise ChildFailed(f"{name}: {error}") from None


def _output_of(command: Sequence[str], argument: Any, name: str, timeout_s: float) -> str:
    status, output, errors = run_to_end(command, name, timeout_s, json.dumps(argument))
    if status != 0:
        raise ChildFailed(f"{name} ended with status {status}:\n{errors[-2000:]}")
    return output


def run_to_end(
    command: Sequence[str], name: str, timeout_s: float, argument: str = "", directory: Path | None = None
) -> tuple[int, str, str]:
    """Runs a program; returns its status, output and error output. All processes that it started are dead then.

    Raises ``ChildFailed`` past ``timeout_s``.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        cwd=directory,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(argument, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"{name} did not end within {timeout_s:g} s") from None
    finally:
        # The whole group, for the program may have started others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode, output, errors


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent ends (Linux only; elsewhere this does nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_and_join(workers: Iterable[threading.Thread | BaseProcess]) -> None:
    """Starts all threads or processes, then waits for all of them."""
    started = list(workers)
    for worker in started:
        worker.start()
    for worker in started:
        worker.join()


@contextlib.contextmanager
def running(threads: Sequence[threading.Thread], *let_go: Callable[[], object]) -> Iterator[None]:
    """Threads that run in this block. At its end, also where the lesson is interrupted, each of ``let_go`` is called,
    and the threads are joined: after these calls none of them may wait any longer."""
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        for call in let_go:
            call()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class ProcessGroup:
    """Processes of one start method (``fork`` or ``spawn``), at most ``MOST_PROCESSES`` alive; a context manager.

    At the end of the block the processes that are left are killed.
    """

    def __init__(self, method: str) -> None:
        self.context: ForkContext | SpawnContext = multiprocessing.get_context(method)  # type: ignore[assignment]
        self.members: list[BaseProcess] = []
        self._readers: list[Connection] = []

    def start(self, target: Callable[..., Any], *arguments: Any) -> BaseProcess:
        """Starts a process. Under ``spawn`` the target must be importable: a function at the top of a module."""
        if sum(member.is_alive() for member in self.members) >= MOST_PROCESSES:
            raise ValueError(f"a lesson has at most {MOST_PROCESSES} processes alive")
        member = self.context.Process(target=_run_member, args=(target, arguments), daemon=True)
        # An interrupt between the two lines would leave an unknown process running.
        with signals_deferred():
            member.start()
            self.members.append(member)
        return member

    def submit(self, target: Callable[..., Any], *arguments: Any) -> None:
        """Starts a process whose return value ``results`` receives through a pipe, the only way back to the parent."""
        reader, writer = self.context.Pipe(duplex=False)
        self._readers.append(reader)
        self.start(_send_result, writer, target, *arguments)
        writer.close()  # Only the process has it now: if it ends without a result, the reader sees the end of the pipe.

    def results(self, timeout_s: float = PATIENCE_S) -> list[Any]:
        """The return values of all submitted calls, in their order. Raises ``ChildFailed`` where one is missing."""
        found = []
        for reader in self._readers:
            with contextlib.closing(reader):
                try:
                    if not reader.poll(timeout_s):
                        raise ChildFailed(f"a process had no result within {timeout_s:g} s")
                    found.append(reader.recv())
                except EOFError:
                    raise ChildFailed("a process ended without a result") from None
        self._readers.clear()
        return found

    def join(self, timeout_s: float = PATIENCE_S) -> bool:
        """Waits for all processes, for each at most ``timeout_s``. True if all have ended."""
        for member in self.members:
            member.join(timeout_s)
        return not any(member.is_alive() for member in self.members)

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *error: object) -> None:
        for reader in self._readers:
            reader.close()
        for member in self.members:
            if member.is_alive():
                member.kill()
        for member in self.members:
            member.join()
            member.close()


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """In the main thread, Ctrl-C and the time limit take effect only at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    for each in received:
        signal.raise_signal(each)


def _run_member(target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        return  # The parent died before the kernel was asked.
    # The lesson handles Ctrl-C and ends its processes itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target(*arguments)


def _send_result(writer: Connection, target: Callable[..., Any], *arguments: Any) -> None:
    writer.send(target(*arguments))


def _main() -> None:
    die_with_parent()
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    module_name, _, function = sys.argv[2].partition(":")
    result = getattr(importlib.import_module(module_name), function)(*json.loads(sys.stdin.read()))
    # The record separator divides the result from whatever else was printed.
    sys.stdout.write("\x1e" + json.dumps(result))
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
