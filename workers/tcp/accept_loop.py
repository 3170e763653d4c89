"""The loop of each worker in a pool: one conversation after the other."""

from __future__ import annotations

import socket
import traceback

from workers.tcp import Conversation


def accept_in_turn(listener: socket.socket, converse: Conversation) -> None:
    """Accepts a client, talks to it until it hangs up, accepts the next. Never returns.

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
