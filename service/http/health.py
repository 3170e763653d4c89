"""``/healthz``: this process answers. ``/readyz``: it could sell a ticket now. ``/metrics``: its counters."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from service.http import schemas
from service.http.answers import json_answer, office
from service.http.described import described
from service.runtime.metrics import CONTENT_TYPE, Unmeasured
from service.sales.readiness import Readiness

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@described("Does this process answer?", tag="operation", answers={200: schemas.Alive})
def alive() -> Response:
    return json_answer(schemas.Alive("alive"))


@blueprint.get("/readyz")
@described(
    "Could a ticket be sold now?",
    tag="operation",
    answers={200: schemas.Ready},
    problems=("stopping", "switching", "storage_full"),
    stored=True,
)
def ready() -> Response:
    readiness: Readiness = current_app.extensions["readiness"]
    readiness.check()
    return json_answer(schemas.Ready("ready", office().store.name, office().control.mode().guard))


@blueprint.get("/metrics")
@described(
    "Metrics for Prometheus",
    tag="operation",
    answers={200: "text/plain"},
    details="Added up over all processes of this server, also those that have died. Only numbers: no name, no id.",
)
def metrics() -> Response:
    counted: Unmeasured = current_app.extensions["metrics"]
    return Response(counted.text(), content_type=CONTENT_TYPE)
