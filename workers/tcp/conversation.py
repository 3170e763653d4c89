"""The conversation of a server with one client: every message comes back in capitals.

``polite`` is the right one. ``naive`` is the usual first version; the lesson shows three faults of it:

- It takes whatever one ``recv`` gives for one message. A longer one is answered in pieces, two short ones as one.
- It decodes such a piece; a letter of several bytes that was cut in two ends the conversation with an error.
- It never looks for the end. When the client has hung up, ``recv`` gives empty bytes at once, every time: the
  conversation goes on without a client for ever, and keeps a processor busy.
"""

from __future__ import annotations

import contextlib
import socket

from workers.tcp import Conversation
from workers.tcp.framing import Malformed, receive_message, send_message

PIECE = 1024


def polite(sock: socket.socket) -> None:
    """Answers every message until the client hangs up, breaks off or sends what is not a message; then closes."""
    with sock, contextlib.suppress(ConnectionError, Malformed):
        while (message := receive_message(sock)) is not None:
            send_message(sock, message.upper())


def naive(sock: socket.socket) -> None:
    """Answers pieces, for ever. Ends only with an error."""
    while True:
        heard = sock.recv(PIECE).decode()
        sock.sendall(heard.upper().encode())


CONVERSATIONS: dict[str, Conversation] = {"polite": polite, "naive": naive}
