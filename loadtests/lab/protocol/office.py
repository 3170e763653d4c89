"""Speaks to a ticket office that keeps the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import msgspec

from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol import carts
from loadtests.lab.protocol.adapter import Adapter, Conversation, Exchange, Request
from loadtests.lab.protocol.answers import OfficeAnswer, keep_fields, outcome_of, outcome_without_answer, read_fields
from loadtests.lab.protocol.seat_map import SeatMap

_decoder = msgspec.json.Decoder(OfficeAnswer)
_SAY_NOTHING = frozenset({"fail", "unknown"})


class OfficeAdapter(Adapter):
    """The contract's HTTP: one request and its answer for an operation, or for a cart."""

    def __init__(self) -> None:
        self._unreadable: Counter[tuple[str, str]] = Counter()

    def converse(self, exchange: Exchange) -> Conversation:
        lines, buyer = exchange.lines, exchange.buyer.name
        is_cart = len(lines) > 1
        request = carts.request_of(lines, buyer) if is_cart else self.request(lines[0], buyer, exchange.seat_map)
        reply = yield request
        if reply.error is not None:
            for line in lines:
                line.outcome = outcome_without_answer(request.method, reply.error)
        elif is_cart:
            exchange.word, wrong = carts.understand(lines, reply.status, reply.body, reply.headers)
            self._count_unreadable("a cart", wrong)
        elif exchange.seat_map is not None:
            exchange.word = exchange.seat_map.understand(lines[0], reply.status, reply.body, reply.headers)
        else:
            exchange.word = self.understand(lines[0], reply.status, reply.body, reply.headers)

    def request(self, operation: Operation, buyer: str, seat_map: SeatMap | None = None) -> Request:
        """The contract's request; every mutation carries its key. A read with a ``seat_map`` asks for the seats."""
        headers = {"Idempotency-Key": operation.key} if operation.key else {}
        event, name = f"/events/{operation.event}", "/events/<event>"
        match operation.op:
            case "read" if seat_map is not None:
                return Request("GET", f"{event}/seats{seat_map.query}", f"{name}/seats")
            case "read":
                return Request("GET", event, name)
            case "cancel":
                return Request("DELETE", f"{event}/orders/{_part(operation.order)}", f"{name}/orders/<order>", headers)
            case "buy" | "hold":
                made = "orders" if operation.op == "buy" else "holds"
                headers["Content-Type"] = "application/json"
                body = msgspec.json.encode(_wish(operation, buyer))
                return Request("POST", f"{event}/{made}", f"{name}/{made}", headers, body)
            case "confirm":
                path = f"{event}/holds/{_part(operation.hold)}/confirm"
                return Request("POST", path, f"{name}/holds/<hold>/confirm", headers)
            case "release":
                return Request("DELETE", f"{event}/holds/{_part(operation.hold)}", f"{name}/holds/<hold>", headers)
        raise ValueError(f"clients do not know the operation {operation.op}")

    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        answer, wrong = read_fields(body or b"", _decoder)
        operation.outcome = outcome_of(operation.op, status, answer)
        keep_fields(operation, answer, headers)
        if wrong and operation.outcome not in _SAY_NOTHING:
            self._count_unreadable(operation.op, wrong)
        return answer.code or "without a code"

    def notes(self) -> list[str]:
        return [
            f"{count:,} answers to {op} had a `{field}` that cannot be read; they count, and the field is left out"
            for (op, field), count in self._unreadable.items()
        ]

    def _count_unreadable(self, op: str, fields: Iterable[str]) -> None:
        """Count fields of an answer that were there and could not be read."""
        self._unreadable.update((op, field) for field in fields)


def _wish(operation: Operation, buyer: str) -> dict[str, object]:
    """What is asked for: seats by name, or a number of tickets, of an event with a hall perhaps side by side."""
    named = {"seats": operation.wanted} if operation.wanted is not None else {"quantity": operation.quantity}
    more = {name: getattr(operation, name) for name in ("together", "section", "seconds")}
    return {**named, "buyer": buyer, **{name: value for name, value in more.items() if value is not None}}


def _part(name: str | None) -> str:
    """An id that the service gave, quoted: it stays one part of an address."""
    return quote(name or "", safe="")
