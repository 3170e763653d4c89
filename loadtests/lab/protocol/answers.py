"""What an answer of a ticket office means: its outcome in the history's words, and the fields worth keeping.

The most important rule: the outcome is ``fail`` only where surely nothing was written, now or later. An error that does
not say so is ``unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from loadtests.lab.history.columns import Count, Number, Quantity
from loadtests.lab.history.recorder import Completion, Operation
from loadtests.lab.untrusted import NOT_JSON

_TIMING = re.compile(r"\b(wait|hold|store);dur=([0-9]{1,12}(?:\.[0-9]{1,9})?)(?![0-9.])")
_MOST_DIGITS = 15
_REFUSES_SEATS: dict[str | None, Completion] = {
    "seat_taken": "seat_taken", "section_sold_out": "section_sold_out", "not_together": "not_together",
}  # fmt: skip
_CAN_BE_REFUSED = frozenset({"cancel", "confirm", "release"})
_REFUSALS = frozenset({"not_open", "unknown_order", "unknown_hold", "hold_expired"})


LONGEST_ID = 256
# No control characters, and nothing that turns the direction of writing: an id goes into addresses and onto terminals.
Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]


class OfficeAnswer(msgspec.Struct):
    """The fields of an answer that the lab reads; those that a service does not give are None.

    A field accepts only what a history may hold: one line that its reader refused would make all others useless.
    """

    order: Id | None = None
    hold: Id | None = None
    quantity: Quantity | None = None
    tickets: list[Number] | None = None
    seats: list[Id] | None = None
    remaining: Number | None = None
    version: Count | None = None
    code: str | None = None
    definite: bool | None = None


Fields = TypeVar("Fields", bound=OfficeAnswer)

_decoder = msgspec.json.Decoder(OfficeAnswer)


def parse(body: bytes | None) -> OfficeAnswer:
    """The readable fields of a body. What is no JSON (a proxy's page, half an answer) has none."""
    return read_fields(body or b"", _decoder)[0]


def read_fields(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[Fields]) -> tuple[Fields, list[str]]:
    """The readable fields, and the names of the unreadable ones: ``body`` where it is no JSON at all."""
    wrong: list[str] = []
    try:
        answer = decoder.decode(body)
    except NOT_JSON:
        answer, wrong = _each_by_itself(body, decoder.type)
    for name in ("order", "hold"):
        if not (getattr(answer, name) or "").isprintable():
            setattr(answer, name, None)
            wrong.append(name)
    return answer, wrong


def _each_by_itself(body: bytes | msgspec.Raw, kind: type[Fields]) -> tuple[Fields, list[str]]:
    answer, wrong = kind(), []
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        return answer, ["body"]
    for field in msgspec.structs.fields(kind):
        if field.name in given:
            try:
                setattr(answer, field.name, msgspec.json.decode(given[field.name], type=field.type))
            except NOT_JSON:
                wrong.append(field.name)
    return answer, wrong


def outcome_of(op: str, status: int, answer: OfficeAnswer) -> Completion:
    """The outcome of an answer with this status, by the table in the contract."""
    if status in {200, 201}:
        return "ok"
    if answer.code == "sold_out":
        return "sold_out"
    if op in {"buy", "hold"} and answer.code in _REFUSES_SEATS:
        return _REFUSES_SEATS[answer.code]
    if op in _CAN_BE_REFUSED and status in {404, 409} and answer.code in _REFUSALS:
        return "refused"
    return "fail" if answer.definite is True else "unknown"


def outcome_without_answer(method: str, error: BaseException | None) -> Completion:
    """The outcome when no answer came.

    A refused connection means that nothing was sent, but only for POST: locust's client resends GET, PUT and DELETE
    when the server closes the connection. If a server applies a DELETE and dies, the resend reports "connection
    refused" for something that was done.
    """
    return "fail" if method == "POST" and isinstance(error, ConnectionRefusedError) else "unknown"


def keep_fields(operation: Operation, answer: OfficeAnswer, headers: Mapping[str, str]) -> None:
    """Copy what the history keeps of an answer: the body's facts, the worker and epoch, and the timings."""
    operation.remaining = answer.remaining
    operation.version = answer.version
    if operation.outcome == "ok" and operation.op != "read":
        operation.order = answer.order or operation.order
        operation.hold = answer.hold or operation.hold
        if operation.op == "confirm":
            operation.quantity = answer.quantity
        operation.tickets = answer.tickets
        operation.seats = answer.seats
        operation.replayed = _text(headers, "Idempotency-Replayed").lower() == "true"
    if operation.outcome == "seat_taken":
        operation.taken = answer.seats
    operation.worker = _number(_text(headers, "Last-Seat-Worker"))
    operation.epoch = _number(_text(headers, "Last-Seat-Epoch"))
    operation.retry_after_s = _number(_text(headers, "Retry-After"))
    for name, duration in _TIMING.findall(_text(headers, "Server-Timing")):
        setattr(operation, f"{name}_ms", float(duration))


def _text(headers: Mapping[str, Any], name: str) -> str:
    """A header's value; a header that stands several times comes as a list."""
    value = headers.get(name) or ""
    return value if isinstance(value, str) else ", ".join(value)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None
