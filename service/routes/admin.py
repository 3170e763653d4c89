"""``/guard``: which guard is on, and its switch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response

from service.control import Mode
from service.routes.answers import body, json_answer, office, require_admin

blueprint = Blueprint("admin", __name__)


class NewGuard(msgspec.Struct, forbid_unknown_fields=True):
    guard: Annotated[str, msgspec.Meta(max_length=40)]


@blueprint.get("/guard")
def show() -> Response:
    return _state(office().control.mode())


@blueprint.put("/guard")
def switch() -> Response:
    require_admin()
    return _state(office().switch(body(NewGuard).guard))


def _state(mode: Mode) -> Response:
    return json_answer({"guard": mode.guard, "epoch": mode.epoch, "guards": office().guards})
