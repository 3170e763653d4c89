"""The refusal of a full house, before anything else is done for a request.

Whoever refuses ten times as many as he serves must not spend more on a refusal than on a sale. Through the framework it
costs two thirds of one: routing, headers, the body read and validated, all to say no. So while the house is full
(``Admission.is_full``) it is said here, at a thirtieth of that, in the same words and with the same headers. Who comes
by in the moment in which a place becomes free goes the usual way, and there it is decided for certain.

While requests are logged, all go the usual way: a log that leaves some out is worse than a slow one.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from service.errors import Problem
from service.http.answers import problem_answer
from service.http.request_checks import REQUEST_ID
from service.runtime.logs import REQUESTS
from service.runtime.metrics import Unmeasured
from service.sales.admission import RETRY_AFTER_S, Admission
from service.sales.box_office import BoxOffice

_AT_THE_DOOR = frozenset({"orders", "holds", "carts"})
_CHANGES = frozenset({"POST", "PUT", "DELETE"})
_PLACE = re.compile(r"<[^>]+>")

Start = Callable[..., Any]


class RefuseEarly:
    """A WSGI application around the office's own."""

    def __init__(self, app: Flask, office: BoxOffice, admission: Admission, metrics: Unmeasured) -> None:
        self._wsgi: Callable[[dict[str, Any], Start], Iterable[bytes]] = app.wsgi_app
        self._office = office
        self._admission = admission
        self._metrics = metrics
        self._addresses: list[tuple[str, re.Pattern[str], str]] = [
            (method, re.compile("[^/]+".join(re.escape(part) for part in _PLACE.split(rule.rule))), rule.endpoint)
            for rule in app.url_map.iter_rules()
            if rule.endpoint.partition(".")[0] in _AT_THE_DOOR
            for method in (rule.methods or set()) & _CHANGES
        ]
        with app.app_context():
            answer = problem_answer(Problem("overloaded", retry_after_s=RETRY_AFTER_S))
        self._status, self._body, self._type = answer.status, answer.get_data(), answer.headers["Content-Type"]

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        if self._admission.is_full and not REQUESTS.isEnabledFor(logging.INFO):
            operation = self._operation(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
            if operation is not None:
                self._metrics.answered(operation, "overloaded")
                start_response(self._status, self._headers(environ.get("HTTP_X_REQUEST_ID", "")))
                return [self._body]
        return self._wsgi(environ, start_response)

    def _operation(self, method: str, path: str) -> str | None:
        found = (name for wanted, address, name in self._addresses if method == wanted and address.fullmatch(path))
        return next(found, None)

    def _headers(self, request_id: str) -> list[tuple[str, str]]:
        """What every answer carries: see ``every_request.watch``, which this has to agree with."""
        return [
            ("Content-Type", self._type),
            ("Content-Length", str(len(self._body))),
            ("Retry-After", str(RETRY_AFTER_S)),
            ("Server-Timing", "wait;dur=0.000, hold;dur=0.000, store;dur=0.000"),
            ("Last-Seat-Worker", str(os.getpid())),
            ("Last-Seat-Epoch", str(self._office.control.epoch)),
            ("X-Request-Id", request_id if REQUEST_ID.fullmatch(request_id) else secrets.token_hex(8)),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
