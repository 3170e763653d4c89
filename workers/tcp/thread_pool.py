"""A fixed number of threads, started before the first connection."""

from __future__ import annotations

import socket
import threading

from workers.lessons.common.processes import start_and_join
from workers.tcp import Conversation, Limits
from workers.tcp.accept_loop import accept_in_turn


def serve(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    start_and_join(
        threading.Thread(target=accept_in_turn, args=(listener, converse), daemon=True) for _ in range(limits.pool)
    )
