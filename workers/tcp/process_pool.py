"""A fixed number of processes, started before the first connection."""

from __future__ import annotations

import multiprocessing
import socket

from workers.lessons.common.processes import die_with_parent, start_and_join
from workers.tcp import Conversation, Limits
from workers.tcp.accept_loop import accept_in_turn


def serve(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    context = multiprocessing.get_context(limits.start)
    start_and_join(
        context.Process(target=_work, args=(listener, converse), daemon=True)  # type: ignore[attr-defined]
        for _ in range(limits.pool)
    )


def _work(listener: socket.socket, converse: Conversation) -> None:
    die_with_parent()
    accept_in_turn(listener, converse)
