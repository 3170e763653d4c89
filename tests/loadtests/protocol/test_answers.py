"""Which outcome an answer has: ``fail`` only where surely nothing was written."""

from __future__ import annotations

import json

import pytest

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.answers import OfficeAnswer, keep_fields, outcome_of, outcome_without_answer, parse


@pytest.mark.parametrize(
    ("op", "status", "body", "outcome"),
    [
        ("buy", 201, {"order": "o1"}, "ok"),
        ("read", 200, {"remaining": 3}, "ok"),
        ("buy", 409, {"code": "sold_out", "definite": True, "remaining": 0}, "sold_out"),
        ("cancel", 409, {"code": "not_open", "definite": True}, "refused"),
        ("cancel", 404, {"code": "unknown_order", "definite": True}, "refused"),
        ("cancel", 404, {"code": "unknown_event", "definite": True}, "fail"),
        ("buy", 409, {"code": "doors_closed", "definite": True}, "fail"),
        ("buy", 503, {"code": "lock_timeout", "definite": True}, "fail"),
        ("buy", 504, {"code": "outcome_unknown", "definite": False}, "unknown"),
        ("buy", 500, {"code": "internal"}, "unknown"),
        ("buy", 502, {}, "unknown"),
        ("buy", 404, {}, "unknown"),
    ],
)
def test_an_error_is_a_fail_only_if_it_says_that_it_is_definite(
    op: str, status: int, body: dict[str, object], outcome: str
) -> None:
    assert outcome_of(op, status, parse(json.dumps(body).encode())) == outcome


@pytest.mark.parametrize("body", [None, b"", b"<html>bad gateway</html>", b'{"order":', b"[]", b'{"order":7}'])
def test_a_body_that_is_no_answer_has_no_fields(body: bytes | None) -> None:
    assert parse(body) == OfficeAnswer()


def test_a_refused_connection_is_a_fail_for_post_only() -> None:
    assert outcome_without_answer("POST", ConnectionRefusedError()) == "fail"
    assert outcome_without_answer("DELETE", ConnectionRefusedError()) == "unknown"
    assert outcome_without_answer("GET", ConnectionRefusedError()) == "unknown"
    assert outcome_without_answer("POST", ConnectionResetError()) == "unknown"


def test_who_answered_and_where_the_time_went_is_kept() -> None:
    operation = Operation(process=1, op="buy", event="show", invoke_ns=1, return_ns=2, outcome="ok")
    headers = {
        "Server-Timing": "wait;dur=0.8, hold;dur=12.5, store;dur=3",
        "Last-Seat-Worker": "4711",
        "Last-Seat-Epoch": "3",
        "Idempotency-Replayed": "true",
    }
    keep_fields(operation, OfficeAnswer(order="o1", tickets=[1], remaining=4, version=1), headers)
    assert (operation.wait_ms, operation.hold_ms, operation.store_ms) == (0.8, 12.5, 3.0)
    assert (operation.worker, operation.epoch, operation.replayed) == (4711, 3, True)


def test_a_service_without_those_headers_leaves_them_out() -> None:
    operation = Operation(process=1, op="buy", event="show", invoke_ns=1, return_ns=2, outcome="ok")
    keep_fields(operation, OfficeAnswer(order="o1"), {"Server-Timing": "db;dur=3", "Last-Seat-Worker": "web-1"})
    assert (operation.wait_ms, operation.worker, operation.epoch, operation.replayed) == (None, None, None, False)
