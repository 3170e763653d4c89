"""Some processes, some threads in each, and in every thread a greenlet for each connection."""

from __future__ import annotations

import multiprocessing
import socket
import threading

from workers.lessons.common.processes import die_with_parent, start_and_join
from workers.tcp import Conversation, Limits, coroutines


def serve(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    context = multiprocessing.get_context(limits.start)
    start_and_join(
        context.Process(target=_run_threads, args=(listener, limits, converse), daemon=True)  # type: ignore[attr-defined]
        for _ in range(limits.processes)
    )


def _run_threads(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    die_with_parent()
    start_and_join(
        threading.Thread(target=coroutines.serve, args=(listener, limits, converse), daemon=True)
        for _ in range(limits.threads)
    )
