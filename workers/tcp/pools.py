"""A fixed number of threads, or of processes, started before the first connection."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import traceback

from workers.lessons.common.processes import die_with_parent, start_and_join
from workers.tcp import Conversation, Limits


def serve_by_threads(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    start_and_join(
        threading.Thread(target=_accept_in_turn, args=(listener, converse), daemon=True) for _ in range(limits.pool)
    )


def serve_by_processes(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    context = multiprocessing.get_context(limits.start)
    start_and_join(
        context.Process(target=_run_process, args=(listener, converse), daemon=True)  # type: ignore[attr-defined]
        for _ in range(limits.pool)
    )


def _run_process(listener: socket.socket, converse: Conversation) -> None:
    die_with_parent()
    _accept_in_turn(listener, converse)


def _accept_in_turn(listener: socket.socket, converse: Conversation) -> None:
    """The loop of a worker: accepts a client, talks to it until it hangs up, accepts the next. Never returns.

    All workers of a pool accept from one listener; the kernel gives each client to one of them. Clients without a free
    worker wait in the kernel's queue: they are connected, and no worker answers them.
    """
    while True:
        client, _ = listener.accept()
        try:
            converse(client)
        except Exception:
            # An error in one conversation must not end the worker.
            traceback.print_exc()
