"""Some processes, some threads in each, and in every thread a greenlet for each connection."""

from __future__ import annotations

import multiprocessing
import socket
import threading

from workers.lessons.children import die_with_parent
from workers.tcp import Conversation, Shape, coroutines


def serve(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    context = multiprocessing.get_context(shape.start)
    processes = [
        context.Process(target=_run_threads, args=(listener, shape, converse), daemon=True)  # type: ignore[attr-defined]
        for _ in range(shape.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _run_threads(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    die_with_parent()
    threads = [
        threading.Thread(target=coroutines.serve, args=(listener, shape, converse), daemon=True)
        for _ in range(shape.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
