"""A server that does nothing: it answers every read with the same bytes. Its argument is FD.

Against it the load generator shows how fast it is when nobody makes it wait. FD is a listening socket.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys

_BODY = b'{"order":"o0","event":"show","quantity":1,"tickets":[1],"remaining":0,"version":1}\n'
_ANSWER = b"HTTP/1.1 201 CREATED\r\nServer: noop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


def answer_all(listener: socket.socket) -> None:
    """Answer until the process is ended."""
    listener.setblocking(False)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                with contextlib.suppress(BlockingIOError):
                    waiting.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            connection = key.fileobj
            if not isinstance(connection, socket.socket):
                raise TypeError("only sockets are waited for")
            try:
                alive = bool(connection.recv(65536)) and bool(connection.send(_ANSWER))
            except OSError:
                alive = False
            if not alive:
                waiting.unregister(connection)
                connection.close()


if __name__ == "__main__":
    answer_all(socket.socket(fileno=int(sys.argv[1])))
