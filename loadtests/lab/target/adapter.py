"""Speaks to a service as its target file describes.

The rule of ``answers`` holds here too: the outcome is ``fail`` only where the file says definite. Any other error is
``unknown``, for it may have been a sale.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from loadtests.lab.history.columns import LARGEST, MOST_TICKETS
from loadtests.lab.history.recorder import Operation, Outcome
from loadtests.lab.protocol.adapter import Adapter, Request
from loadtests.lab.protocol.answers import LONGEST_ID
from loadtests.lab.target.file import (
    PLACEHOLDER,
    WHOLE_ANSWER,
    Ask,
    Condition,
    Conditions,
    Target,
    Where,
    each_of,
    placeholders,
)
from loadtests.lab.untrusted import NOT_JSON

_WHOLE = re.compile(r"\s*-?[0-9]{1,20}\s*", re.ASCII)
_FINE = range(200, 300)


class TargetAdapter(Adapter):
    """The adapter of one target. Counts the answers in which something was not where the file says."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._asks: dict[str, Any] = dict(target.asks)
        self._may_ask_again = {name: "key" in placeholders(ask) for name, ask in self._asks.items()}
        self._answers: Counter[str] = Counter()
        self._lacking: Counter[tuple[str, str, str]] = Counter()

    def request(self, operation: Operation, buyer: str) -> Request:
        values: dict[str, str | int] = {"event": operation.event, "buyer": buyer}
        for name in ("key", "quantity", "order"):
            value = getattr(operation, name)
            if value is not None:
                values[name] = value
        return fill(self._asks[operation.op], values)

    def may_ask_again(self, op: str) -> bool:
        """Only where the service is told the key: without it a second request would be a second purchase."""
        return self._may_ask_again[op]

    def understand(self, operation: Operation, status: int, body: bytes | None, headers: Mapping[str, str]) -> str:
        """By the file's conditions: sold out and refused first, then definite, then ok, else unknown.

        What is no JSON is no sale where a field of it would say that it was none.
        """
        ask, (answer, is_json) = self._asks[operation.op], _parse(body)
        operation.outcome = _outcome(ask, status, answer)
        if operation.outcome == "ok" and not is_json and _fields_decide(ask):
            operation.outcome = "unknown"
        if operation.outcome in {"ok", "sold_out", "refused"}:
            self._keep(operation, ask.answer, answer)
        return "definite" if operation.outcome == "fail" else "not described in the target file"

    def notes(self) -> list[str]:
        """Fields that were not where the file says, and how often."""
        return [
            f"{count:,} of {self._answers[op]:,} answers to {op} have no {wanted} at `{path}`: is the file right?"
            for (op, path, wanted), count in self._lacking.items()
        ]

    def _keep(self, operation: Operation, where: Where, answer: Any) -> None:
        ok = operation.outcome == "ok"
        self._answers[operation.op] += ok
        operation.remaining = self._find(operation, where.remaining, answer, "number", _whole)
        operation.version = self._find(operation, where.version, answer, "number", _count)
        if not ok or operation.op == "read":
            return
        operation.order = self._find(operation, where.order, answer, "id", _identity) or operation.order
        operation.tickets = self._find(operation, where.tickets, answer, "ticket numbers", _numbers)
        sold = self._find(operation, where.quantity, answer, "number of tickets", _quantity)
        if operation.op == "buy" and sold is not None:
            operation.quantity = sold

    def _find(self, operation: Operation, path: str | None, answer: Any, wanted: str, read: Any) -> Any:
        if path is None:
            return None
        found = read(look_up(answer, path))
        if found is None and operation.outcome == "ok":
            self._lacking[operation.op, path, wanted] += 1
        return found


def fill(ask: Ask, values: Mapping[str, str | int]) -> Request:
    """A request with its placeholders filled in. A JSON text that is only a number's placeholder becomes a number."""
    path = _format(ask.path, {name: urllib.parse.quote(str(value), safe="") for name, value in values.items()})
    headers = {name: _format(value, values) for name, value in ask.headers.items()}
    body: bytes | None = None
    if ask.body is not None:
        text = isinstance(ask.body, str)
        body = _format(ask.body, values).encode() if isinstance(ask.body, str) else _as_json(ask.body, values)
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/x-www-form-urlencoded" if text else "application/json"
    return Request(ask.method, path, ask.path, headers, body)


def _as_json(template: Any, values: Mapping[str, str | int]) -> bytes:
    def filled(value: Any) -> Any:
        match value:
            case str():
                alone = PLACEHOLDER.fullmatch(value)
                return values[alone[1]] if alone else _format(value, values)
            case dict():
                return {_format(name, values): filled(each) for name, each in value.items()}
            case list():
                return [filled(each) for each in value]
        return value

    return msgspec.json.encode(filled(template))


def _format(text: str, values: Mapping[str, str | int]) -> str:
    return PLACEHOLDER.sub(lambda found: str(values[found[1]]), text)


def _outcome(ask: Any, status: int, answer: Any) -> Outcome:
    outcomes: dict[str, Outcome] = {"sold_out": "sold_out", "refused": "refused", "definite": "fail"}
    for name, outcome in outcomes.items():
        if _meets(getattr(ask, name, None), status, answer):
            return outcome
    if ask.ok is None:
        return "ok" if status in _FINE else "unknown"
    return "ok" if _meets(ask.ok, status, answer) else "unknown"


def _meets(conditions: Conditions | None, status: int, answer: Any) -> bool:
    return any(_is(condition, status, answer) for condition in each_of(conditions))


def _is(condition: Condition, status: int, answer: Any) -> bool:
    if condition.status is not None:
        wanted = condition.status if isinstance(condition.status, list) else [condition.status]
        if status not in wanted:
            return False
    if condition.field is None:
        return True
    found = look_up(answer, condition.field)
    if condition.equals is None:
        return found is not None
    return bool(found == condition.equals) and isinstance(found, bool) is isinstance(condition.equals, bool)


def look_up(answer: Any, path: str) -> Any:
    """The value at ``data.left`` or ``tickets.0`` of an answer; None where there is none."""
    found = answer
    for step in [] if path == WHOLE_ANSWER else path.split("."):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _fields_decide(ask: Any) -> bool:
    words = (getattr(ask, name, None) for name in ("sold_out", "refused", "definite", "ok"))
    return any(condition.field is not None for word in words for condition in each_of(word))


def _parse(body: bytes | None) -> tuple[Any, bool]:
    """An answer's content, and whether it is JSON; a number in it that is out of bounds is None."""
    try:
        return msgspec.json.decode(body or b"null"), True
    except NOT_JSON:
        pass
    try:
        return json.loads(body or b"", parse_int=_whole, parse_constant=lambda _: None), True
    except (ValueError, RecursionError):
        return None, False


def _whole(value: Any, least: int = -LARGEST, most: int = LARGEST) -> int | None:
    """A number as services write it, 3, 3.0 or "3", that a history may hold."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None


_count = partial(_whole, least=0)
_quantity = partial(_whole, least=1, most=MOST_TICKETS)


def _identity(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    name = str(value)
    return name if 0 < len(name) <= LONGEST_ID and name.isprintable() else None


def _numbers(value: Any) -> list[int] | None:
    """Ticket numbers: one, or a list of them."""
    numbers = [_whole(each) for each in (value if isinstance(value, list) else [value])]
    whole = [number for number in numbers if number is not None]
    return whole if whole and len(whole) == len(numbers) else None
