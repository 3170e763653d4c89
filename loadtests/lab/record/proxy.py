"""A proxy in front of one service: it forwards every request, and tells somebody of each exchange.

One thread for each connection of a client, with a connection of its own to the service. What the client sends is
forwarded unchanged but for the headers that belong to a connection, ``Host`` (the service's), and ``Accept-Encoding``
(``identity``, so that answers can be read). A ``Location`` that names the service is made to lead through the proxy.
Bodies are passed on as they arrive, of any length; up to ``MOST_KEPT`` bytes of them are kept for whoever is told.

An exchange spans the time from just before it is forwarded to just after the whole answer arrived from the service,
both by this process's clock: what was answered before something else was asked is so in the service too.

Not forwarded: protocol upgrades (501).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

MOST_KEPT = 1 << 20
_CHUNK_BYTES = 64 << 10
_CONNECT_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 600.0
_OF_A_CONNECTION = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
_WITHOUT_A_BODY = frozenset({204, 304})


class ForwardedRequest(NamedTuple):
    """One request and what came of it; ``status`` is None where no whole answer came.

    ``sent`` is false where the service surely saw nothing of it. Bodies are None where they are longer than
    ``MOST_KEPT``.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    status: int | None
    answer_headers: dict[str, str]
    answer: bytes | None
    invoke_ns: int
    return_ns: int
    sent: bool


class Proxy:
    """A proxy that listens for as long as a ``with`` block lasts; requests under way are answered before it ends."""

    def __init__(self, service: str, listen: tuple[str, int], tell: Callable[[ForwardedRequest], None]) -> None:
        """``service`` is the service's address. Raises ``OSError`` where it cannot listen there."""
        self.to = service
        self.service = urllib.parse.urlsplit(service.rstrip("/"))
        self.tell = tell
        self.failed: list[str] = []
        """What could not be told, as words: then the history is not whole."""
        self._under_way = 0
        self._changed = threading.Condition()
        self._server = _Server(listen, _Handler)
        self._server.proxy = self
        host, port = self._server.server_address[:2]
        self.url = f"http://{host!s}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for_answers(self, within_s: float) -> int:
        """Wait until nothing is under way; returns how many requests still are."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, within_s)
            return self._under_way

    @contextlib.contextmanager
    def exchange(self) -> Iterator[None]:
        """One request is under way in this block."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the service. Raises ``OSError`` where there is none."""
        parts = self.service
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT_WITHIN_S)
        connection.connect()
        connection.sock.settimeout(_ANSWER_WITHIN_S)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def report(self, exchange: ForwardedRequest) -> None:
        """Tell of an exchange; what goes wrong there is no matter of the client's."""
        try:
            self.tell(exchange)
        except Exception as error:
            self.failed.append(f"{exchange.method} {exchange.path}: {error!r}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""


class _BodyBeginning:
    """The first bytes of a body, or None where there are more."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        if len(self._bytes) <= MOST_KEPT:
            self._bytes += chunk

    @property
    def whole(self) -> bytes | None:
        return bytes(self._bytes) if len(self._bytes) <= MOST_KEPT else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server
    _upstream: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed for a request."""

    def handle_expect_100(self) -> bool:
        """A client that waits for leave to send its body has it at once."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # every method is forwarded
            return self._forward
        raise AttributeError(name)

    def finish(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def _forward(self) -> None:
        if self.headers.get("Upgrade"):
            self.send_error(501, "lastseat record forwards no upgrade of the protocol")
            return
        with self.server.proxy.exchange():
            self._exchange()

    def _exchange(self) -> None:
        proxy, asked, answered = self.server.proxy, _BodyBeginning(), _BodyBeginning()
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION]
        status, answer_headers, sent, whole = None, {}, False, False
        invoke_ns = time.monotonic_ns()
        try:
            upstream = self._connection()
            invoke_ns, sent = time.monotonic_ns(), True
            self._send(upstream, headers, asked)
            response = upstream.getresponse()
            answer_headers = {name.lower(): value for name, value in response.getheaders()}
            whole = self._pass_on(response, answered)
            status = response.status if whole else None
            return_ns = self._ended_ns
        except (OSError, ValueError, http.client.HTTPException) as error:
            return_ns = time.monotonic_ns()
            self._give_up(error, begun=bool(answer_headers))
        proxy.report(
            ForwardedRequest(
                self.command, self.path, {name.lower(): value for name, value in headers}, asked.whole,
                status, answer_headers, answered.whole if whole else None, invoke_ns, return_ns, sent,
            )
        )  # fmt: skip

    def _connection(self) -> http.client.HTTPConnection:
        """One that is open: what the service has closed meanwhile is not asked again."""
        upstream = self._upstream
        if upstream is not None and (upstream.sock is None or _has_something_to_read(upstream.sock)):
            upstream.close()
            upstream = None
        self._upstream = upstream = upstream or self.server.proxy.connect()
        return upstream

    def _send(self, upstream: http.client.HTTPConnection, headers: list[tuple[str, str]], kept: _BodyBeginning) -> None:
        service = self.server.proxy.service
        upstream.putrequest(self.command, service.path + self.path, skip_host=True, skip_accept_encoding=True)
        upstream.putheader("Host", service.netloc.rpartition("@")[2])
        for name, value in headers:
            if name.lower() not in {"host", "accept-encoding"}:
                upstream.putheader(name, value)
        upstream.putheader("Accept-Encoding", "identity")
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        first = next(body := self._body(chunked=chunked), b"")
        kept.add(first)
        # The head and the beginning of the body in one packet.
        upstream.endheaders(_framed(first, chunked=chunked) or None)
        for chunk in body:
            kept.add(chunk)
            upstream.send(_framed(chunk, chunked=chunked))
        if chunked:
            upstream.send(b"0\r\n\r\n")

    def _body(self, *, chunked: bool) -> Iterator[bytes]:
        """The request's body as it arrives."""
        if not chunked:
            yield from _read(self.rfile, int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline(100).partition(b";")[0], 16):
            yield from _read(self.rfile, size)
            self.rfile.readline(3)
        while self.rfile.readline(_CHUNK_BYTES).strip():
            pass

    def _pass_on(self, response: http.client.HTTPResponse, kept: _BodyBeginning) -> bool:
        """Give the client the answer as it arrives; whether it came whole."""
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, self._through_here(value) if name.lower() == "location" else value)
        bodiless = self.command == "HEAD" or response.status in _WITHOUT_A_BODY
        chunked = response.length is None and not bodiless
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        there = True
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                kept.add(chunk)
                there = there and self._write(_framed(chunk, chunked=chunked))
        finally:
            self._ended_ns = time.monotonic_ns()
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # ``read1`` leaves it open, and the connection would take no other request
        if there and self._write(b"0\r\n\r\n" if chunked else b""):
            with contextlib.suppress(OSError):
                self.wfile.flush()
        return True

    def _through_here(self, address: str) -> str:
        proxy = self.server.proxy
        return address.replace(f"{proxy.service.scheme}://{proxy.service.netloc}", proxy.url, 1)

    def _write(self, chunk: bytes) -> bool:
        """Whether the client is still there; the answer is read on to its end in any case."""
        try:
            self.wfile.write(chunk)
        except OSError:
            self.close_connection = True
            return False
        return True

    def _give_up(self, error: Exception, *, begun: bool) -> None:
        self.close_connection = True
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
        if not begun:
            with contextlib.suppress(OSError):
                self.send_error(502, "lastseat record had no answer from the service", str(error))


def _has_something_to_read(connection: socket.socket) -> bool:
    """Between two requests: that the service has ended the connection, or sent what nobody asked for."""
    waiting = select.poll()  # select() itself takes no descriptor beyond 1,023
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


def _framed(chunk: bytes, *, chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked and chunk else chunk


def _read(file: io.BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        chunk = file.read(min(length, _CHUNK_BYTES))
        if not chunk:
            raise ConnectionError("the client went away in the middle of its request")
        length -= len(chunk)
        yield chunk
