"""``/openapi.json``: the description of this service's interface, for programs. ``/docs``: the same as a page."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from flask import Blueprint, Response, current_app, render_template

from service.http.answers import encode, tagged_answer
from service.http.described import described
from service.http.openapi import document

blueprint = Blueprint("interface", __name__)

_KEPT = "openapi"


@blueprint.get("/openapi.json")
@described("This description (OpenAPI 3.1)", tag="interface", answers={200: dict, 304: None}, tagged=True)
def description() -> Response:
    return tagged_answer(_made()[0])


@blueprint.get("/docs")
@described("This description as a page", tag="interface", answers={200: "text/html"})
def page() -> Response:
    return Response(render_template("docs.html", api=_made()[1]), content_type="text/html; charset=utf-8")


def _made() -> tuple[bytes, dict[str, Any]]:
    """The description, encoded and not; made when it is first asked for."""
    kept: tuple[bytes, dict[str, Any]] | None = current_app.extensions.get(_KEPT)
    if kept is None:
        whole = document(current_app, _version())
        kept = current_app.extensions[_KEPT] = (encode(whole), whole)
    return kept


def _version() -> str:
    try:
        return metadata.version("lastseat")
    except metadata.PackageNotFoundError:
        return "0"
