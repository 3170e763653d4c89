"""The refusal of a request while the office is full, before anything else is done for it.

An office that refuses ten times as many requests as it serves must not spend more on a refusal than on a sale. Through
the framework a refusal costs two thirds of a sale: routing, headers, the body read and validated. So while the office
is full (``Admission.is_full``) it refuses here, at a thirtieth of that, in the same words and with the same headers. A
request that comes at the moment in which a place becomes free goes the usual way, and there it is decided for certain.

While requests are logged, all go the usual way: a log that leaves some out is worse than a slow one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from service.errors import Problem
from service.http.answers import problem_answer
from service.http.middleware.request_checks import SAFE_METHODS, common_headers, request_id
from service.runtime.logs import REQUESTS
from service.runtime.metrics import Unmeasured
from service.sales.admission import RETRY_AFTER_S, Admission
from service.sales.box_office import BoxOffice
from service.sales.command_handler import AnswerTimes

_ADMITTED_ROUTES = frozenset({"orders", "holds", "carts"})
_NO_TIMES = AnswerTimes()
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
            if rule.endpoint.partition(".")[0] in _ADMITTED_ROUTES
            for method in (rule.methods or set()) - SAFE_METHODS
        ]
        with app.app_context():
            answer = problem_answer(Problem("overloaded", retry_after_s=RETRY_AFTER_S))
        self._status, self._body, self._type = answer.status, answer.get_data(), answer.headers["Content-Type"]

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        if self._admission.is_full and not REQUESTS.isEnabledFor(logging.INFO):
            operation = self._operation(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
            if operation is not None:
                self._metrics.answered(operation, "overloaded")
                start_response(self._status, self._headers(request_id(environ)))
                return [self._body]
        return self._wsgi(environ, start_response)

    def _operation(self, method: str, path: str) -> str | None:
        found = (name for wanted, address, name in self._addresses if method == wanted and address.fullmatch(path))
        return next(found, None)

    def _headers(self, of_request: str) -> list[tuple[str, str]]:
        return [
            ("Content-Type", self._type),
            ("Content-Length", str(len(self._body))),
            ("Retry-After", str(RETRY_AFTER_S)),
            ("Cache-Control", "no-store"),
            *common_headers(_NO_TIMES, self._office.control.epoch, of_request),
        ]
