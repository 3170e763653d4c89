"""Holds as a customer asks for them, and as the history then has them: the contract's requests, fields and outcomes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from loadtests.lab.history.history import read_history
from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.office import OfficeAdapter


def operation(op: str, **fields: Any) -> Operation:
    given: dict[str, Any] = {"process": 1, "op": op, "event": "show", "key": "1-1", "invoke_ns": 1, "return_ns": 2}
    return Operation(outcome="unknown", **(given | fields))


def answered(asked: Operation, status: int, answer: dict[str, Any], **headers: str) -> Operation:
    OfficeAdapter().understand(asked, status, json.dumps(answer).encode(), headers)
    return asked


@pytest.mark.parametrize(
    ("asked", "method", "path", "body"),
    [
        (operation("hold", quantity=2), "POST", "/events/show/holds", {"quantity": 2, "buyer": "ann"}),
        (
            operation("hold", quantity=2, seconds=0.5),
            "POST",
            "/events/show/holds",
            {"quantity": 2, "buyer": "ann", "seconds": 0.5},
        ),
        (operation("confirm", hold="h1"), "POST", "/events/show/holds/h1/confirm", None),
        (operation("release", hold="h1"), "DELETE", "/events/show/holds/h1", None),
    ],
)
def test_a_hold_is_asked_for_as_the_contract_says(
    asked: Operation, method: str, path: str, body: dict[str, Any] | None
) -> None:
    request = OfficeAdapter().request(asked, "ann")
    assert (request.method, request.path) == (method, path)
    assert request.headers["Idempotency-Key"] == "1-1"
    assert (json.loads(request.body) if request.body else None) == body


def test_a_hold_its_confirmation_and_a_release_are_recorded_with_what_the_verdict_needs() -> None:
    held = answered(
        operation("hold", quantity=2),
        201,
        {"hold": "h1", "tickets": [3, 4], "expires_at": "2026-11-23T08:00:00Z", "remaining": 1, "version": 3},
    )
    assert (held.outcome, held.hold, held.quantity, held.tickets) == ("ok", "h1", 2, [3, 4])
    confirmed = answered(
        operation("confirm", hold="h1", key="1-2", invoke_ns=3, return_ns=4),
        201,
        {"order": "o2", "quantity": 2, "tickets": [3, 4], "remaining": 1, "version": 4},
    )
    assert (confirmed.outcome, confirmed.hold, confirmed.order) == ("ok", "h1", "o2")
    assert (confirmed.quantity, confirmed.tickets) == (2, [3, 4])
    released = answered(
        operation("release", hold="h3", key="1-3", invoke_ns=5, return_ns=6),
        200,
        {"hold": "h3", "status": "released", "remaining": 3, "version": 5},
        **{"Idempotency-Replayed": "true"},
    )
    assert (released.outcome, released.hold, released.replayed) == ("ok", "h3", True)
    lines = [msgspec.json.encode(each) for each in (held, confirmed, released)]
    assert len(read_history(b"\n".join(lines))) == 3


@pytest.mark.parametrize(
    ("op", "status", "code", "outcome"),
    [
        ("hold", 409, "sold_out", "sold_out"),
        ("hold", 409, "buyer_limit", "fail"),
        ("confirm", 409, "hold_expired", "refused"),
        ("confirm", 409, "not_open", "refused"),
        ("confirm", 404, "unknown_hold", "refused"),
        ("confirm", 409, "buyer_limit", "fail"),
        ("release", 409, "not_open", "refused"),
        ("release", 404, "unknown_hold", "refused"),
        ("confirm", 503, "lock_timeout", "fail"),
    ],
)
def test_a_refused_hold_is_an_observation_only_where_it_says_something_of_its_version(
    op: str, status: int, code: str, outcome: str
) -> None:
    asked = operation(op, hold="h1", quantity=1)
    assert answered(asked, status, {"code": code, "definite": True, "version": 7}).outcome == outcome
    assert asked.version == 7
