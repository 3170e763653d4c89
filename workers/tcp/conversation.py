"""What a server says to one client, whoever runs it: every message back in capitals.

``polite`` is the right one. ``naive`` is what one writes first; it is here to be seen going wrong, in three ways:

- It takes whatever one ``recv`` gives for one message. A longer one is answered in pieces, two short ones as one.
- It decodes such a piece; a letter of several bytes that was cut in two ends the conversation with an error.
- It never looks for the end. When the client has hung up, ``recv`` gives empty bytes at once, every time: the
  conversation goes on with nobody for ever, and takes a processor to do so.
"""

from __future__ import annotations

import contextlib
import socket

from workers.tcp import Conversation
from workers.tcp.framing import Malformed, receive_message, send_message

PIECE = 1024


def polite(sock: socket.socket) -> None:
    """Answer every message until the client hangs up, breaks off or does not keep to the form; then close."""
    with sock, contextlib.suppress(ConnectionError, Malformed):
        while (message := receive_message(sock)) is not None:
            send_message(sock, message.upper())


def naive(sock: socket.socket) -> None:
    """Answer pieces, for ever. Ends only with an error."""
    while True:
        heard = sock.recv(PIECE).decode()
        sock.sendall(heard.upper().encode())


CONVERSATIONS: dict[str, Conversation] = {"polite": polite, "naive": naive}
