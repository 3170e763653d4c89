"""A fixed number of processes, started before the first connection."""

from __future__ import annotations

import multiprocessing
import socket

from workers.lessons.children import die_with_parent
from workers.tcp import Conversation, Shape
from workers.tcp.turns import take_turns


def serve(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    context = multiprocessing.get_context(shape.start)
    workers = [
        context.Process(target=_work, args=(listener, converse), daemon=True)  # type: ignore[attr-defined]
        for _ in range(shape.pool)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _work(listener: socket.socket, converse: Conversation) -> None:
    die_with_parent()
    take_turns(listener, converse)
