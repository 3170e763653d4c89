"""A step of a target file becomes a request: its placeholders filled in, each encoded for its place."""

from __future__ import annotations

import contextlib
import ipaddress
import urllib.parse
from typing import Any
from xml.sax.saxutils import escape

import msgspec

from loadtests.lab.protocol.adapter import Request
from loadtests.lab.target.placeholders import Encode, Values, as_text, fill_all, fill_text, in_json, literals
from loadtests.lab.target.tables import RequestStep

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
_SHOWN = 200


class CannotBeFilled(Exception):
    """A request cannot be made of a step: a value is not there, or cannot stand where it should. Nothing was sent."""


def fill(step: RequestStep, values: Values, url: str = "") -> Request:
    """The request of a step to the service at ``url``. Raises ``CannotBeFilled``.

    In a path a value is percent-encoded; a path that begins with a value is an address that the service answered, and
    that value is taken as it is. A text in a JSON body that is one placeholder and no more becomes its value, a number
    for example. In a body that is a text, values are encoded as its type wants: a form, JSON, XML.
    """
    try:
        headers = {name: _line(fill_text(text, values), f"the header {name}") for name, text in step.headers.items()}
        given = next((text for name, text in headers.items() if name.lower() == "content-type"), "")
        body = _body(step, values, given)
        if literals(step.path)[0][1]:
            path = on_service(url, _line(_address(step.path, values), "the path"))
        else:
            path = _line(fill_text(step.path, values, _quoted), "the path")
    except KeyError as error:
        raise CannotBeFilled(f"there is no value for {{{error.args[0]}}} yet") from None
    if body is not None and not given:
        headers["Content-Type"] = FORM if step.form is not None or isinstance(step.body, str) else JSON
    return Request(step.method, path, step.path, headers, body)


def on_service(url: str, reference: str) -> str:
    """The address that a reference in an answer leads to. Raises ``CannotBeFilled`` unless it is the service's own.

    A name of this machine is as good as another: services write their own as they think that they are called.
    """
    try:
        here, there = urllib.parse.urlsplit(url), urllib.parse.urlsplit(urllib.parse.urljoin(url + "/", reference))
        is_same = here.scheme == there.scheme and _port(here) == _port(there) and _host(here) == _host(there)
    except ValueError:
        is_same = False
    if not is_same:
        raise CannotBeFilled(
            f"an answer leads to {reference[:_SHOWN]!r}, which is not this service; nothing was sent there"
        )
    return urllib.parse.urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))


def _port(parts: urllib.parse.SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _host(parts: urllib.parse.SplitResult) -> str:
    host = (parts.hostname or "").lower()
    with contextlib.suppress(ValueError):
        host = "localhost" if ipaddress.ip_address(host).is_loopback else host
    return host


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _address(path: str, values: Values) -> str:
    first, _, rest = path.partition("}")
    return fill_text(first + "}", values) + fill_text(rest, values, _quoted)


def _line(text: str, what: str) -> str:
    """A header or a path is one line: a control character would begin another one."""
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise CannotBeFilled(f"{what} would hold a control character")
    if " " in text and what == "the path":
        raise CannotBeFilled("the path would hold a space")
    return text


def _body(step: RequestStep, values: Values, content_type: str) -> bytes | None:
    if step.form is not None:
        pairs = [(name, each) for name, value in fill_all(step.form, values).items() for each in _listed(value)]
        return urllib.parse.urlencode([(name, as_text(value)) for name, value in pairs]).encode()
    if isinstance(step.body, str):
        return fill_text(step.body, values, _encoder(content_type)).encode()
    return None if step.body is None else msgspec.json.encode(fill_all(step.body, values))


def _listed(value: Any) -> list[Any]:
    """A field of a form that stands several times is a list."""
    return value if isinstance(value, list) else [value]


def _encoder(content_type: str) -> Encode:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in {"", FORM}:
        return urllib.parse.quote_plus
    if kind.endswith("json"):
        return in_json
    return escape if kind.endswith("xml") else str
