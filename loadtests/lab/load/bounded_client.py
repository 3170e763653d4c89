"""Locust's fast client, so that no answer is without an end: the head, the body and what a compressed one unfolds to.

Left to itself it keeps whatever a server sends, and a server that sends faster than is read keeps all other buyers of
the process from running. So the parser counts what it is fed. An answer that is too long is none: ``unknown``.
"""

from __future__ import annotations

import zlib

import geventhttpclient.client
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse
from locust.contrib.fasthttp import FastResponse

MOST_BYTES = 1 << 20
EVERY_STATUS = frozenset(range(1000))
UNCOMPRESSED = {"Accept-Encoding": "identity"}
_ANY_HEADER = 47  # of zlib: gzip or deflate, whichever it is


class _Bounded(HTTPSocketPoolResponse):
    _fed = 0

    def feed(self, data: str | bytes) -> None:
        self._fed += len(data)
        if self._fed > MOST_BYTES:
            raise HTTPParseError(f"the answer has more than {MOST_BYTES:,} bytes and was not read on")
        super().feed(data)


# The client has no setting for it.
geventhttpclient.client.HTTPSocketPoolResponse = _Bounded  # type: ignore[attr-defined]


class BoundedAnswer(FastResponse):
    """Its content is at most so long; what was compressed though nobody asked, and cannot be unfolded, is empty."""

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
    """Let a session's client give bounded answers, and each of them, whatever its status.

    It follows no redirection, which may lead to a host that nobody meant to load, and keeps no cookies: shops set none.
    """
    for name, value in (
        ("response_type", BoundedAnswer),
        ("valid_response_codes", EVERY_STATUS),
        ("redirect_response_codes", frozenset()),
        ("cookiejar", None),
    ):
        setattr(agent, name, value)
