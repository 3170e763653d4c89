"""Carts as a history has them: one request over several events, and a line for each event.

The lines of a cart have its key and its name (``cart``). Each has a process of its own, because in a history a process
does one thing at a time; the events differ, so no attempt of a key is there twice. Where one event refused, its line
says so, and in the others surely nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.adapter import Request
from loadtests.lab.protocol.answers import OfficeAnswer, keep_fields, outcome_of, read_fields
from loadtests.lab.untrusted import NOT_JSON

SELLS_NONE = 501
"""The status by which a service says that it sells no carts."""
NO_CARTS = "the service sells no carts over several events (501); the buyers bought in each event by itself"


class _Sold(msgspec.Struct):
    orders: list[msgspec.Raw]


class _OfEvent(OfficeAnswer):
    event: str = ""


_sold = msgspec.json.Decoder(_Sold)
_decoder = msgspec.json.Decoder(_OfEvent)


def lines_of(key: str, items: Mapping[str, int], processes: Iterable[int], attempt: int = 1) -> list[Operation]:
    """The lines of one attempt at a cart, in the order of its events."""
    return [
        Operation(
            process=process, op="buy", event=event, key=key, cart=key, attempt=attempt, quantity=quantity,
            invoke_ns=0, return_ns=None, outcome="unknown",
        )
        for process, (event, quantity) in zip(processes, items.items(), strict=False)
    ]  # fmt: skip


def request_of(lines: Sequence[Operation], buyer: str) -> Request:
    items = [{"event": line.event, "quantity": line.quantity} for line in lines]
    headers = {"Content-Type": "application/json", "Idempotency-Key": lines[0].key or ""}
    return Request("POST", "/carts", "/carts", headers, msgspec.json.encode({"items": items, "buyer": buyer}))


def understand(
    lines: Sequence[Operation], status: int, body: bytes | None, headers: Mapping[str, str]
) -> tuple[str, list[str]]:
    """Put the answer to a cart into its lines; the problem's code, if it is one, and what could not be read.

    The outcome of an event that an answer of 201 leaves out is unknown.
    """
    if status == 201:
        orders, wrong = _orders(body or b"")
        for line in lines:
            if line.event in orders:
                line.outcome = "ok"
                keep_fields(line, orders[line.event], headers)
        return "", wrong
    answer, _ = read_fields(body or b"", _decoder)
    for line in lines:
        line.outcome = outcome_of("buy", status, answer)
        if line.outcome == "sold_out" and line.event != answer.event:
            line.outcome = "fail"
        keep_fields(line, answer if line.outcome == "sold_out" else OfficeAnswer(), headers)
    return answer.code or "without a code", []


def _orders(body: bytes) -> tuple[dict[str, OfficeAnswer], list[str]]:
    orders: dict[str, OfficeAnswer] = {}
    unreadable = []
    try:
        sold = _sold.decode(body).orders
    except NOT_JSON:
        return {}, ["body"]
    for each in sold:
        order, wrong = read_fields(each, _decoder)
        orders[order.event] = order
        unreadable += wrong
    return orders, unreadable
