"""The rate limit at the door of HTTP: only what would change something counts."""

from __future__ import annotations

from flask import Flask, request

from service.http.rate_limit import RateLimit, client_of

_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def limit_rate(app: Flask, limit: RateLimit, proxies: int) -> None:
    """Let a client change things, or try to (also to guess the admin token), as often as ``limit`` allows.

    It is decided before the body is read. Errors: ``too_many_requests``.
    """

    @app.before_request
    def take_a_token() -> None:
        if request.method not in _CHANGE_NOTHING:
            # Several headers of one name are one list there, in their order.
            forwarded_for = request.environ.get("HTTP_X_FORWARDED_FOR", "") if proxies else ""
            forwarded = request.environ.get("HTTP_FORWARDED", "") if proxies else ""
            limit.take(client_of(request.remote_addr or "", forwarded_for, forwarded, proxies))
