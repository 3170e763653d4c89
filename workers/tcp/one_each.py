"""A thread, or a process, for each connection."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from workers.lessons.common.processes import die_with_parent
from workers.tcp import Conversation, Limits

_REAP_EVERY_S = 0.1


def serve_by_threads(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
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


def serve_by_processes(listener: socket.socket, limits: Limits, converse: Conversation) -> None:
    context = multiprocessing.get_context(limits.start)
    talking: list[BaseProcess] = []
    listener.settimeout(_REAP_EVERY_S)
    while True:
        talking = [each for each in talking if each.is_alive()]  # is_alive also reaps a process that has ended
        if len(talking) >= limits.most_processes:
            wait([each.sentinel for each in talking])
            continue
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        process = context.Process(target=_talk, args=(client, converse), daemon=True)  # type: ignore[attr-defined]
        process.start()
        # The child has the connection now. If it stayed open here, the client would never see its end.
        client.close()
        talking.append(process)


def _talk(client: socket.socket, converse: Conversation) -> None:
    die_with_parent()
    client.settimeout(None)
    converse(client)
