"""Messages over TCP, which itself carries bytes and knows of no messages.

What is sent in one piece may arrive in several, and two pieces in one; only the order is kept. So every message begins
with its length in four bytes, the highest first; then follow its bytes in UTF-8.
"""

from __future__ import annotations

import socket

LONGEST = 64 * 1024
_HEAD = 4


class BrokenOff(ConnectionError):
    """The other side hung up in the middle of a message."""


class Malformed(ValueError):
    """The received bytes are not a message."""


def framed(text: str) -> bytes:
    """The bytes of a message: its length, then its text."""
    body = text.encode()
    return len(body).to_bytes(_HEAD, "big") + body


def send_message(sock: socket.socket, text: str) -> None:
    """Send a message whole. Errors: ``OSError`` where the other side is gone."""
    sock.sendall(framed(text))


def receive_message(sock: socket.socket) -> str | None:
    """The next message, or None where the other side has hung up after a whole one.

    Errors: ``BrokenOff``, ``Malformed``, and ``OSError`` where the connection failed.
    """
    head = _receive(sock, _HEAD)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > LONGEST:
        raise Malformed(f"a message of {size} bytes; {LONGEST} is the longest")
    body = _receive(sock, size)
    if body is None:
        raise BrokenOff("the connection ended between a message's length and the message")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(str(error)) from None


def _receive(sock: socket.socket, size: int) -> bytes | None:
    """Exactly ``size`` bytes, in any number of pieces; None if the other side has hung up before the first one."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = sock.recv(size - len(pieces))
        if not piece:
            # An empty piece is the end of the connection: recv waits as long as data may still come.
            if pieces:
                raise BrokenOff(f"the connection ended after {len(pieces)} of {size} bytes")
            return None
        pieces += piece
    return bytes(pieces)
