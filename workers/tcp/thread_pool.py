"""A fixed number of threads, started before the first connection."""

from __future__ import annotations

import socket
import threading

from workers.tcp import Conversation, Shape
from workers.tcp.turns import take_turns


def serve(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    workers = [threading.Thread(target=take_turns, args=(listener, converse), daemon=True) for _ in range(shape.pool)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
