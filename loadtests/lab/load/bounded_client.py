"""Limits the size of answers that locust's fast client reads: head, body, and the body after decompression.

By default the client keeps whatever a server sends, and a server that sends without a pause keeps all other buyers of
the process from running. So the parser counts the bytes. The outcome of an answer that is too long is ``unknown``.
"""

from __future__ import annotations

import zlib

import geventhttpclient.client
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse
from locust.contrib.fasthttp import FastResponse

MOST_BYTES = 1 << 20
EVERY_STATUS = frozenset(range(1000))
UNCOMPRESSED = {"Accept-Encoding": "identity"}
_ANY_HEADER = 47  # for zlib: detect whether it is gzip or deflate


class _Bounded(HTTPSocketPoolResponse):
    _fed = 0

    def feed(self, data: str | bytes) -> None:
        self._fed += len(data)
        if self._fed > MOST_BYTES:
            raise HTTPParseError(f"the answer has more than {MOST_BYTES:,} bytes and was not read on")
        super().feed(data)


# The client has no setting for this class.
geventhttpclient.client.HTTPSocketPoolResponse = _Bounded  # type: ignore[attr-defined]


class BoundedAnswer(FastResponse):
    """An answer of limited size. A compressed body, which nobody asked for, is empty if it cannot be decompressed."""

    def _content(self) -> bytes:
        if self.headers is None:
            return b""
        body = self._response.read() if self._response is not None else b""
        self.release()
        if str(self.headers.get("content-encoding", "identity")).lower() == "identity":
            return body
        try:
            return zlib.decompressobj(_ANY_HEADER).decompress(body, MOST_BYTES)
        except zlib.error:
            return b""


def bound(agent: object) -> None:
    """Let a session's client return bounded answers, whatever their status.

    It follows no redirection, which may lead to a host that nobody meant to load, and keeps no cookies.
    """
    for name, value in (
        ("response_type", BoundedAnswer),
        ("valid_response_codes", EVERY_STATUS),
        ("redirect_response_codes", frozenset()),
        ("cookiejar", None),
    ):
        setattr(agent, name, value)
