"""What an answer of a ticket office means: its outcome in the history's words, and the fields worth keeping.

The rule that everything hangs on: ``fail`` is claimed only where surely nothing was written, now or later. An error
that does not say so is ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from loadtests.lab.recorder import Operation, Outcome

_TIMING = re.compile(r"\b(wait|hold|store);dur=([0-9.]+)")
_CAN_BE_REFUSED = frozenset({"cancel", "confirm", "release"})
_REFUSALS = frozenset({"not_open", "unknown_order", "unknown_hold", "hold_expired"})


class Answer(msgspec.Struct):
    """The body of an answer, as far as the lab reads it; whatever a service does not give is None."""

    order: str | None = None
    hold: str | None = None
    quantity: int | None = None
    tickets: list[int] | None = None
    remaining: int | None = None
    version: int | None = None
    code: str | None = None
    definite: bool | None = None
    detail: str | None = None


_decoder = msgspec.json.Decoder(Answer)


def parse(body: bytes | None) -> Answer:
    """The body's fields. What is no such JSON (a proxy's page, half an answer) has none of them."""
    try:
        return _decoder.decode(body or b"")
    except msgspec.MsgspecError:
        return Answer()


def outcome_of(op: str, status: int, answer: Answer) -> Outcome:
    """What may be said after an answer with this status: see the table in the contract."""
    if status in {200, 201}:
        return "ok"
    if answer.code == "sold_out":
        return "sold_out"
    if op in _CAN_BE_REFUSED and status in {404, 409} and answer.code in _REFUSALS:
        return "refused"
    return "fail" if answer.definite is True else "unknown"


def outcome_without_answer(method: str, error: BaseException | None) -> Outcome:
    """What may be said when no answer came.

    A refused connection means that nothing was sent, but only for POST: the client resends GET, PUT and DELETE by
    itself when the server closes the connection. A server that applies a DELETE and dies makes the resend report
    "connection refused" for something that was done.
    """
    return "fail" if method == "POST" and isinstance(error, ConnectionRefusedError) else "unknown"


def keep_fields(operation: Operation, answer: Answer, headers: Mapping[str, str]) -> None:
    """Copy what the history keeps of an answer: the body's facts, who gave it, and where the time went."""
    operation.remaining = answer.remaining
    operation.version = answer.version
    if operation.outcome == "ok" and operation.op != "read":
        operation.order = answer.order or operation.order
        operation.hold = answer.hold or operation.hold
        if operation.op == "confirm":
            operation.quantity = answer.quantity
        operation.tickets = answer.tickets
        operation.replayed = headers.get("Idempotency-Replayed", "").lower() == "true"
    operation.worker = _number(headers.get("Last-Seat-Worker"))
    operation.epoch = _number(headers.get("Last-Seat-Epoch"))
    operation.retry_after_s = _number(headers.get("Retry-After"))
    for name, duration in _TIMING.findall(headers.get("Server-Timing") or ""):
        setattr(operation, f"{name}_ms", float(duration))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
