"""The rate limit: a token bucket for each client, in bounded memory. Only requests that could change something count.

A bucket holds ``burst`` tokens and gets ``rate`` new ones a second; each request takes one. It is kept as one number,
the moment at which the bucket would be full again: that moment moves on by ``1 / rate`` with every request, and a
request that would move it further than ``burst / rate`` ahead of now finds the bucket empty. (That is the generic cell
rate algorithm, GCRA.) A refused request moves nothing, so a client that keeps asking is not kept out for it.

What it does *not* do: each process has buckets of its own, so n processes let a client in up to n times as often; and
there is a bucket for each of the most recent ``MOST_CLIENTS`` clients, so a client with more addresses than that has as
many full buckets. It keeps one eager client from taking the others' turn; it is no defence against many machines.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from flask import Flask, request

from service.errors import Problem
from service.http.middleware.request_checks import SAFE_METHODS

MOST_CLIENTS = 10_000
_LONGEST_NAME, _LONGEST_ELEMENT = 64, 512
# The grammar of RFC 7239, strictly, except that brackets need no quotes. A parser that skips what it does not
# understand, as werkzeug's does, finds a "for" inside of what a proxy has quoted.
_PAIR = re.compile(r"""\s*([\w!#$%&'*+.^`|~-]+)=("(?:[^"\\]|\\.)*"|[^"\\;,\s]+)\s*""")
_ELEMENT = re.compile(rf"{_PAIR.pattern}(?:;{_PAIR.pattern})*")


class RateLimit:
    """The buckets of one process. Threads and greenlets share them."""

    def __init__(self, rate: float, burst: float, most_clients: int = MOST_CLIENTS) -> None:
        """``rate`` requests a second for each client, ``burst`` at once."""
        self._gap_s = 1 / rate
        self._room_s = burst / rate
        self._most_clients = most_clients
        self._mutex = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str, now: float | None = None) -> None:
        """Take a token from the bucket of ``client``.

        Errors: ``too_many_requests`` (definite), with the seconds until the next token.
        """
        now = time.monotonic() if now is None else now
        with self._mutex:
            full_at = max(self._full_at.get(client, now), now) + self._gap_s
            # The tolerance is for rounding alone: sums of 1 / rate are not exact.
            too_early_s = full_at - now - self._room_s
            if too_early_s > 1e-9:
                raise Problem("too_many_requests", retry_after_s=max(1, math.ceil(too_early_s)))
            self._full_at[client] = full_at
            self._full_at.move_to_end(client)
            if len(self._full_at) > self._most_clients:
                # The client that has not asked for longest: its bucket is the nearest to full, and a new one is full.
                self._full_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_at)


def limit_rate(app: Flask, limit: RateLimit, proxies: int) -> None:
    """Let a client send as many requests that could change something (or guess the admin token) as ``limit`` allows.

    It is decided before the body is read. Errors: ``too_many_requests``.
    """

    @app.before_request
    def take_a_token() -> None:
        if request.method not in SAFE_METHODS:
            # The server has joined several headers of one name into one list, in their order.
            forwarded_for = request.environ.get("HTTP_X_FORWARDED_FOR", "") if proxies else ""
            forwarded = request.environ.get("HTTP_FORWARDED", "") if proxies else ""
            limit.take(client_of(request.remote_addr or "", forwarded_for, forwarded, proxies))


def client_of(address: str, forwarded_for: str, forwarded: str, proxies: int) -> str:
    """The client that asks: the peer's address, or the one that the outermost of ``proxies`` trusted proxies names.

    Each proxy writes the address of its own client at the end of ``X-Forwarded-For`` or of ``Forwarded``
    (RFC 7239), with its port or without; only the last ``proxies`` of them are ours, all before is what the client may
    have made up. A header with fewer than that did not come through all of them. The peer counts where neither header
    came through them, where the proxy knows no address (``unknown``, ``_hidden``), and where the two headers name
    different clients: a proxy that writes one of them hands on what the client has written into the other.

    A client is an address, an IPv6 client its network of 64 bits, which is the least that one customer has.
    """
    if proxies:
        named = {_in_forwarded_for(forwarded_for, proxies), _in_forwarded(forwarded, proxies)} - {None}
        if len(named) == 1 and (name := named.pop()):
            return name
    return _client_at(address) or address[:_LONGEST_NAME]


def _in_forwarded_for(header: str, proxies: int) -> str | None:
    """The client that the header names; empty if that is no address, None if it has too few."""
    chain = header.rsplit(",", proxies)
    return _client_at(chain[-proxies].strip(' \t"')) if header and len(chain) >= proxies else None


def _in_forwarded(header: str, proxies: int) -> str | None:
    """The same of ``Forwarded``. Read from its end: a quote that the client opens and never closes hides nothing."""
    parts, element = header.split(",") if header else [], ""
    for _ in range(proxies):
        if not parts:
            return None
        element = parts.pop()
        while len(element) > _LONGEST_ELEMENT or not _ELEMENT.fullmatch(element):
            if not parts or len(element) > _LONGEST_ELEMENT:
                return ""
            element = f"{parts.pop()},{element}"  # the comma stood in a quoted string
    told = {name.lower(): value for name, value in _PAIR.findall(element)}
    return _client_at(told.get("for", "").strip('"'))


def _client_at(text: str) -> str:
    """The client at an address, which may have a port and brackets; empty if it is none."""
    if text.startswith("["):
        text, bracket, _ = text[1:_LONGEST_NAME].partition("]")
        return _client(text) if bracket else ""
    if "." in text:
        start, dot, end = text.rpartition(".")
        text = start + dot + end.partition(":")[0]
    return _client(text) if len(text) <= _LONGEST_NAME else ""


@lru_cache(MOST_CLIENTS)
def _client(host: str) -> str:
    try:
        known = ip_address(host)
    except ValueError:
        return ""
    if isinstance(known, IPv4Address):
        return str(known)
    return str(known.ipv4_mapped or IPv6Address(int(known) >> 64 << 64))
