"""Messages over TCP, which itself carries bytes and knows of no messages.

What is sent in one piece may arrive in several, and two pieces in one; only the order is kept. So every message says
first how long it is: four bytes, the highest first, and then so many bytes of UTF-8.
"""

from __future__ import annotations

import socket

LONGEST = 64 * 1024
_HEAD = 4


class BrokenOff(ConnectionError):
    """The other side went away in the middle of a message."""


class Malformed(ValueError):
    """What came is not a message."""


def framed(text: str) -> bytes:
    """A message as it travels."""
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
    """Exactly ``size`` bytes, in however many pieces they come; None where there is not even a first one."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = sock.recv(size - len(pieces))
        if not piece:
            # Nothing is not "nothing yet": recv waits for that. It is the end, and will be for ever.
            if pieces:
                raise BrokenOff(f"the connection ended after {len(pieces)} of {size} bytes")
            return None
        pieces += piece
    return bytes(pieces)
