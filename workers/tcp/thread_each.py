"""A thread for each connection."""

from __future__ import annotations

import socket
import threading

from workers.tcp import Conversation, Shape


def serve(listener: socket.socket, shape: Shape, converse: Conversation) -> None:
    room = threading.BoundedSemaphore(shape.most_connections)

    def talk(client: socket.socket) -> None:
        try:
            converse(client)
        finally:
            room.release()

    while True:
        # First a place, then a client: the other way round one more would be let in than there are places.
        room.acquire()
        client, _ = listener.accept()
        threading.Thread(target=talk, args=(client,), daemon=True).start()
