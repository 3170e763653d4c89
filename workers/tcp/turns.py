"""One conversation after the other: what each worker of a pool does."""

from __future__ import annotations

import socket
import traceback

from workers.tcp import Conversation


def take_turns(listener: socket.socket, converse: Conversation) -> None:
    """Accept a client, talk to it until it hangs up, accept the next. Never returns.

    All workers of a pool accept from one listener; the kernel gives each client to one of them. Clients for whom no
    worker is free wait in the kernel's queue: they are connected, and nobody answers.
    """
    while True:
        client, _ = listener.accept()
        try:
            converse(client)
        except Exception:
            # One conversation that goes wrong must not cost the pool a worker.
            traceback.print_exc()
