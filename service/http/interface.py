"""``/openapi.json``: what this service answers to, for programs. ``/docs``: the same for people, as a page."""

from __future__ import annotations

import hashlib
from importlib import metadata
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app, render_template, request

from service.http.described import described
from service.http.openapi import document

blueprint = Blueprint("interface", __name__)

_KEPT = "openapi"


@blueprint.get("/openapi.json")
@described("This description (OpenAPI 3.1)", tag="interface", answers={200: dict, 304: None}, tagged=True)
def description() -> Response:
    content, _, tag = _made()
    answer = Response(content, content_type="application/json")
    answer.headers["Cache-Control"] = "no-cache"
    answer.set_etag(tag)
    return answer.make_conditional(request)  # type: ignore[return-value]


@blueprint.get("/docs")
@described("This description as a page", tag="interface", answers={200: "text/html"})
def page() -> Response:
    return Response(render_template("docs.html", api=_made()[1]), content_type="text/html; charset=utf-8")


def _made() -> tuple[bytes, dict[str, Any], str]:
    """The description, encoded and not, and its tag; made when it is first asked for."""
    kept: tuple[bytes, dict[str, Any], str] | None = current_app.extensions.get(_KEPT)
    if kept is None:
        whole = document(current_app, _version())
        content = msgspec.json.encode(whole) + b"\n"
        tag = hashlib.blake2b(content, digest_size=12).hexdigest()
        kept = current_app.extensions[_KEPT] = (content, whole, tag)
    return kept


def _version() -> str:
    try:
        return metadata.version("lastseat")
    except metadata.PackageNotFoundError:
        return "0"
