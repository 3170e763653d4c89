"""Gates: named places in a purchase where a scheduler outside decides who goes on.

With ``LASTSEAT_GATES=<unix socket>`` whoever reaches a gate says so on that socket and waits for leave; so a program
that holds the other end can try every order in which buyers pass. Off, which is always outside of experiments, a
gate is one comparison with None.

A gate is named after what it precedes: ``acquire`` (standing in line and waiting for the guard), ``view`` (reading),
``append`` (writing; a refusal has nothing to write and passes none), ``release`` (giving the guard back), ``durable``
(waiting for the disk), ``answer``.

The conversation is a line of JSON, ``{"gate", "keys", "event", "pid", "thread", …}``, and a line back: ``go``, or
``refuse`` where the disk is to fail. A *note* says that somebody has to wait for somebody else (``blocked``), or for
the guard to be switched (``switching``). The scheduler ends the conversation when it is time to try again, so who of
several gets the guard is its decision.

A scheduler that is gone must not take the service with it. Before the commit the purchase is refused, definitely;
after it there is only one honest answer, the outcome, and the buyer gets it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from errno import EIO, ENOSPC
from typing import Any

import msgspec

from service.errors import Problem
from service.runtime.files import CommitFailed, storage_problems

GATES = ("acquire", "view", "append", "release", "durable", "answer")
_BEFORE_THE_COMMIT = frozenset({"acquire", "view", "append"})


class Gates:
    """The gates of this process, kept by the scheduler at ``path``. Any thread or greenlet may reach any of them.

    Each passage is a connection of its own, through the socket module: under gevent's patch the hub goes on.
    """

    def __init__(self, path: str, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s

    def reach(self, gate: str, event: str, keys: Sequence[str], **seen: Any) -> None:
        """Wait at a gate until the scheduler lets these keys go on; ``seen`` is what is known there.

        Errors: ``scheduler_gone`` (definite), at the gates before the commit only; where the scheduler refuses, what a
        full disk is before a write and a broken one in a sync: ``storage_full`` (definite), ``CommitFailed``.
        """
        try:
            with self._say({"gate": gate, "event": event, "keys": list(keys), **seen}) as line:
                answer = line.recv(16)
        except OSError:
            answer = b""
        if answer.startswith(b"refuse"):
            _fail(gate)
        if not answer.startswith(b"go") and gate in _BEFORE_THE_COMMIT:
            raise Problem("scheduler_gone", f"Nobody opened the gate {gate!r} within {self._patience_s:g} s.")

    def note(self, what: str, event: str, keys: Sequence[str]) -> None:
        """Tell the scheduler who has to wait, and return when it has heard it and lets them try again."""
        with contextlib.suppress(OSError), self._say({"note": what, "event": event, "keys": list(keys)}) as line:
            line.recv(16)

    def _say(self, message: dict[str, Any]) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(self._patience_s)
            line.connect(self._path)
            who = {"pid": os.getpid(), "thread": threading.get_ident()}
            line.sendall(msgspec.json.encode(message | who) + b"\n")
        except BaseException:
            line.close()
            raise
        return line


def _fail(gate: str) -> None:
    """Fail as a real disk does: nothing is written yet, or a sync fails of what was written."""
    if gate == "durable":
        raise CommitFailed(EIO, os.strerror(EIO))
    with storage_problems():
        raise OSError(ENOSPC, os.strerror(ENOSPC))
