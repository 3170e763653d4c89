"""``/guard``: the guard that acts, and its switch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response

from service.http import schemas
from service.http.answers import body, json_answer, office, require_admin
from service.http.described import described
from service.runtime.epoch import Mode

blueprint = Blueprint("admin", __name__)


class NewGuard(msgspec.Struct, forbid_unknown_fields=True):
    """The guard to switch to."""

    guard: Annotated[str, msgspec.Meta(max_length=40)]


@blueprint.get("/guard")
@described("Which guard acts?", tag="admin", answers={200: schemas.GuardShown})
def show() -> Response:
    return _state(office().control.mode())


@blueprint.put("/guard")
@described(
    "Switch the guard of all processes",
    tag="admin",
    body=NewGuard,
    answers={200: schemas.GuardShown},
    problems=("unknown_guard", "guard_unfit", "switch_timeout", "storage_full", "storage_refused"),
    admin=True,
    details="Answers when every transaction of the older epochs has ended. `on` is the store's safe guard, `off` none.",
)
def switch() -> Response:
    require_admin()
    return _state(office().switch(body(NewGuard).guard))


def _state(mode: Mode) -> Response:
    return json_answer(schemas.GuardShown(mode.guard, mode.epoch, office().guards))
