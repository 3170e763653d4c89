"""A thread for each connection."""

from __future__ import annotations

import socket
import threading

from workers.tcp import Conversation, Limits


def serve(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    room = threading.BoundedSemaphore(limits.most_connections)

    def talk(client: socket.socket) -> None:
        try:
            converse(client)
        finally:
            room.release()

    while True:
        # First a place, then a client: in the other order one client more than the limit would be accepted.
        room.acquire()
        client, _ = listener.accept()
        threading.Thread(target=talk, args=(client,), daemon=True).start()
