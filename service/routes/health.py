"""``/healthz``: this process answers. ``/readyz``: it could sell a ticket now."""

from __future__ import annotations

from flask import Blueprint, Response

from service.routes.answers import json_answer, office

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    return json_answer({"status": "alive"})


@blueprint.get("/readyz")
def ready() -> Response:
    office().check_ready()
    return json_answer({"status": "ready", "store": office().store.name, "guard": office().control.mode().guard})
