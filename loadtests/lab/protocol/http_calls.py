"""The lab's own HTTP calls: to the given address only, and limited in time and size.

A service under test may be broken or malicious. So no redirection is followed (the admin token would go along), no
proxy of the environment is used, the number of bytes is limited, and a call as a whole has a time limit: a server that
sends one byte now and then would never exceed the limit of a single read.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MOST_BYTES = 4 << 20
_CHUNK_BYTES = 256 << 10
_LONGER_AS_A_WHOLE = 5


class NoAnswer(Exception):
    """No whole answer came. ``sent`` is false where the connection was refused: surely nothing was asked."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class HttpAnswer(NamedTuple):
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def is_fine(self) -> bool:
        """Whether it is a success; a redirection is not."""
        return 200 <= self.status < 300


def ask(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float,
    most_bytes: int = MOST_BYTES,
) -> HttpAnswer:
    """Send one request and read the whole answer.

    Raises ``NoAnswer`` after ``timeout_s`` of silence, after five times that in all, or where the answer has more than
    ``most_bytes``. What the server did is unknown then, unless the error's ``sent`` is false.
    """
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    sent = False
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.connect()
            sent = True
            with _ended_after(timeout_s * _LONGER_AS_A_WHOLE, connection.sock):
                path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
                connection.request(method, path, body, {"Connection": "close", **(headers or {})})
                response = connection.getresponse()
                return HttpAnswer(response.status, response.reason, response.headers, _read(response, most_bytes))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__, sent=sent) from None


def _read(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    content = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        content += chunk
        if len(content) > most_bytes:
            raise ValueError(f"the answer has more than {most_bytes:,} bytes and was not read on")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(content)


@contextlib.contextmanager
def _ended_after(limit_s: float, sock: socket.socket) -> Iterator[None]:
    """Shut the connection down when the time is up, which ends every wait on it; then raise ``TimeoutError``."""
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if over.is_set():
            raise TimeoutError(f"there was no whole answer within {limit_s:g} s")
