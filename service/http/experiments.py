"""The address at which the scheduler of an experiment has the sweeper decide. Only with gates is it there."""

from __future__ import annotations

from flask import Blueprint, Response

from service.http.answers import event_id, json_answer, office, require_admin

blueprint = Blueprint("experiments", __name__)


@blueprint.post("/events/<event>/sweep")
def sweep(event: str) -> Response:
    require_admin()
    return json_answer({"swept": office().sweep(event_id(event))})
