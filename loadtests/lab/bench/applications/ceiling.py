"""The bare ceiling: a Flask endpoint that parses the same body and answers in the same form, and nothing else.

gunicorn runs ``loadtests.lab.bench.applications.ceiling:app``: what Flask, gunicorn and HTTP leave of this machine.
"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
from flask import Flask, Response, request


class PurchaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a purchase."""

    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    buyer: str | None = None


app = Flask(__name__)


@app.post("/events/<event>/orders")
def buy(event: str) -> Response:
    wanted = msgspec.json.decode(request.get_data(cache=False), type=PurchaseBody)
    content = {"order": "o0", "event": event, "quantity": wanted.quantity, "tickets": [1], "remaining": 0, "version": 1}
    return Response(msgspec.json.encode(content) + b"\n", 201, content_type="application/json")


@app.get("/readyz")
def ready() -> Response:
    return Response(headers={"Last-Seat-Worker": str(os.getpid())})
