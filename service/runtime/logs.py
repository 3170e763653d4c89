"""What the service writes to its log: with ``LASTSEAT_LOG=json`` a line of JSON for each request and each failure.

More people read a log than read the data, and it is kept for longer. So no line has a token, the id of an order or a
hold (with it anybody may cancel it), an idempotency key (with it anybody gets the first answer), a buyer's name, or the
password of an address. A request's line is made of named fields that have none of these: the route and not the address.
The text of an exception cannot be known beforehand: there, every value that this request sent is replaced.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Flask, g, has_request_context, request

from service.settings import BLOT, without_passwords

REQUESTS = logging.getLogger("lastseat.requests")
_SHORTEST_SECRET = 3
_PUBLIC_IN_PATH = frozenset({"event", "filename"})


def set_up(app: Flask, kind: str) -> None:
    """Write the application's failures without secrets, and with ``json`` every request as well."""
    handler = _StandardError()
    handler.setFormatter(_JsonLine() if kind == "json" else _Blotted("[%(asctime)s] %(levelname)s %(message)s"))
    for logger in (app.logger, logging.getLogger("lastseat")):
        logger.handlers = [handler]
        logger.propagate = False
    REQUESTS.setLevel(logging.INFO if kind == "json" else logging.CRITICAL)


def log_request(**fields: Any) -> None:
    """Write one line; ``fields`` must have no secrets."""
    REQUESTS.info("request", extra={"fields": fields})


class _StandardError(logging.Handler):
    """Writes to the current standard error. A line that cannot be written is lost: logging would report it with its
    secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


class _Blotted(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        return _blot(super().format(record))


class _JsonLine(logging.Formatter):
    """One JSON object a line: ``at``, ``level``, ``message``, and the fields of the request."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": _blot(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if fields is None and has_request_context():
            fields = {"request_id": g.get("request_id")}
        line |= fields or {}
        if record.exc_info:
            line["error"] = _blot(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def _blot(text: str) -> str:
    text = without_passwords(text)
    for secret in sorted(_secrets_of_the_request(), key=len, reverse=True):
        text = text.replace(secret, BLOT)
    return text


def _secrets_of_the_request() -> Iterator[str]:
    """The values in the current request that only its client may know."""
    if not has_request_context():
        return
    found = [value for name, value in (request.view_args or {}).items() if name not in _PUBLIC_IN_PATH]
    found += [request.headers.get("Idempotency-Key", ""), request.headers.get("Authorization", "").partition(" ")[2]]
    found += request.cookies.values()
    found += (value for name, value in request.args.items() if name != "event")
    found += g.get("secrets", ())
    yield from (str(each) for each in found if len(str(each)) >= _SHORTEST_SECRET)
