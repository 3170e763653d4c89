"""A map: what the fields of other tools' records mean, as a TOML file, and the operations that come out of it.

Whatever a map does not say is ``unknown`` or left out, and counted: a guess would be a wrong verdict.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

import msgspec

from loadtests.lab.durations import UNITS_NS, duration_ns
from loadtests.lab.history.columns import LARGEST, MOST_TICKETS
from loadtests.lab.history.history import OPS
from loadtests.lab.history.recorder import Op, Operation
from loadtests.lab.imports.errors import ImportFailed
from loadtests.lab.target.validation import struct_of, text_of, toml_of

_TEXTS = ("key", "order", "hold", "cart")
_NUMBERS = ("attempt", "quantity", "remaining", "version")
_SHOWN = 8


class TimeFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the times stand: two of ``start``, ``end`` and ``duration``. ``host`` is whose clock they are from."""

    start: str | None = None
    end: str | None = None
    duration: str | None = None
    unit: Literal["ns", "us", "ms", "s", "iso"]
    duration_unit: Literal["ns", "us", "ms", "s"] | None = None
    resolution: str | None = None
    host: str | None = None


class FactFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In which field of a row each fact stands."""

    process: str | None = None
    op: str | None = None
    event: str | None = None
    key: str | None = None
    attempt: str | None = None
    quantity: str | None = None
    order: str | None = None
    hold: str | None = None
    cart: str | None = None
    tickets: str | None = None
    remaining: str | None = None
    version: str | None = None


class Always(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values that are the same in every row."""

    op: Op | None = None
    event: str | None = None
    quantity: int | None = None


class OutcomeValues(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which values of ``field`` mean which outcome; every other value is ``unknown``."""

    field: str
    ok: list[str | int | bool] = []
    sold_out: list[str | int | bool] = []
    refused: list[str | int | bool] = []
    fail: list[str | int | bool] = []
    unknown: list[str | int | bool] = []


class Map(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record's fields mean. ``op``: what stands in the field ``op`` of ``fields``, and which operation it is.

    Of a record that mixes several things, ``only`` has what the fields of the rows to be read must be.
    """

    time: TimeFields
    outcome: OutcomeValues
    fields: FactFields = FactFields()
    always: Always = Always()
    only: dict[str, str | int | bool] = {}
    op: dict[str, Op] = {}


@dataclass
class Imported:
    """What became of the rows of a record."""

    operations: list[Operation] = field(default_factory=list)
    resolution_ns: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """How many rows were no operation, by what the map does not know."""
    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """How many outcomes are unknown, by the value that the map does not name."""


def read_map(path: Path) -> Map:
    """Read a map. Raises ``ImportFailed`` naming the field and what is allowed."""
    text = text_of(path, ImportFailed)
    found = struct_of(Map, path, toml_of(path, text, ImportFailed), text, ImportFailed)
    if problem := next(_problems(found), None):
        raise ImportFailed(f"{path}: {problem}")
    return found


def _problems(found: Map) -> Iterator[str]:
    time, fields, always = found.time, found.fields, found.always
    if sum(each is not None for each in (time.start, time.end, time.duration)) != 2:
        yield "[time] must name two of `start`, `end` and `duration`: an operation is judged by when it began and ended"
    if time.unit == "iso" and time.duration is not None and time.duration_unit is None:
        yield "[time] `unit` is iso: say in `duration_unit` what the duration is counted in (ns, us, ms or s)"
    if time.resolution is not None:
        try:
            duration_ns(time.resolution)
        except ValueError as error:
            yield f"[time] `resolution`: {error}"
    elif time.unit == "iso":
        yield "[time] lacks `resolution`: what the clock cannot tell, like 1ms"
    if (fields.op is None) == (always.op is None):
        yield "say either in [fields] in which field the operation stands (`op`), or in [always] which it is"
    elif fields.op is not None and not found.op:
        yield f"[op] is missing: say which value of {fields.op!r} is which of {', '.join(OPS)}"
    if (fields.event is None) == (always.event is None):
        yield "say either in [fields] in which field the event stands (`event`), or in [always] which it is"


def operations_of(rows: Iterable[tuple[int, dict[str, Any]]], meaning: Map, name: str) -> Imported:
    """The operations of a record, in the order of their beginning. Raises ``ImportFailed`` naming the line.

    TimeFields count from the earliest beginning. A process that met an unknown outcome goes on under a new number.
    """
    clock = _RowClock(meaning.time)
    result, numbers, ended = Imported(resolution_ns=clock.resolution_ns), _NumberOfName(), Counter[str]()
    for line, row in rows:
        if any(_text(row.get(name)) != _text(value) for name, value in meaning.only.items()):
            continue
        try:
            op = _op(row, meaning, result)
            if op is None:
                continue
            invoke, returned = clock.interval(row)
            outcome = _outcome(row, meaning.outcome, result)
            if outcome == "unknown":
                returned = None
            elif returned is None:
                raise ImportFailed(f"the outcome is {outcome}, and nothing says when it ended")
            operation = _operation(row, meaning, op, outcome, result)
        except ImportFailed as error:
            raise ImportFailed(f"{name}, line {line}: {error}") from None
        who = _text(row.get(meaning.fields.process or "")) or f"row {line}"
        operation.process = numbers.of(f"{who}#{ended[who]}")
        ended[who] += outcome == "unknown"
        operation.invoke_ns, operation.return_ns = invoke, returned
        result.operations.append(operation)
        result.outcomes[outcome] += 1
    result.operations.sort(key=lambda each: each.invoke_ns)
    if result.operations:
        # Widened times must not begin before the clock does.
        first = result.operations[0].invoke_ns - clock.resolution_ns
        for operation in result.operations:
            operation.invoke_ns -= first
            if operation.return_ns is not None:
                operation.return_ns = max(operation.return_ns - first, 0)
    return result


def _operation(row: dict[str, Any], meaning: Map, op: str, outcome: Any, result: Imported) -> Operation:
    fields, always = meaning.fields, meaning.always
    event = always.event or _text(row.get(fields.event or ""))
    if not event:
        raise ImportFailed(f"there is no event in the field {fields.event!r}")
    operation = Operation(process=0, op=op, event=event, invoke_ns=0, return_ns=None, outcome=outcome)
    for each in _TEXTS:
        where = getattr(fields, each)
        setattr(operation, each, _text(row.get(where)) if where else None)
    for each in _NUMBERS:
        where = getattr(fields, each)
        value = _whole(row.get(where), where) if where else None
        if value is not None:
            setattr(operation, each, value)
    if op in {"buy", "hold"} and operation.quantity is None:
        operation.quantity = always.quantity
        if operation.quantity is None:
            raise ImportFailed("nothing says how many tickets were asked for: [fields] or [always] `quantity`")
    if op not in {"buy", "hold"}:
        operation.quantity = None
    if fields.tickets and outcome == "ok":
        operation.tickets = _tickets(row.get(fields.tickets), fields.tickets)
    if meaning.time.host:
        operation.host = _text(row.get(meaning.time.host))
    if result.resolution_ns:
        operation.resolution_ns = result.resolution_ns
    return operation


def _op(row: dict[str, Any], meaning: Map, result: Imported) -> str | None:
    if meaning.always.op is not None:
        return meaning.always.op
    said = _text(row.get(meaning.fields.op or ""))
    op = meaning.op.get(said or "")
    if op is None:
        result.left_out[f"{meaning.fields.op} is {said!r}"] += 1
    return op


def _outcome(row: dict[str, Any], outcomes: OutcomeValues, result: Imported) -> Any:
    said = _text(row.get(outcomes.field))
    for outcome in ("ok", "sold_out", "refused", "fail", "unknown"):
        if said is not None and said in map(_text, getattr(outcomes, outcome)):
            return outcome
    result.unknown[f"{outcomes.field} is {said!r}"] += 1
    return "unknown"


class _RowClock:
    """When the operation of a row began and ended, in nanoseconds."""

    def __init__(self, times: TimeFields) -> None:
        self._times = times
        self._duration_unit = UNITS_NS[times.duration_unit or ("ns" if times.unit == "iso" else times.unit)]
        unit = 0 if times.unit in {"iso", "ns"} else UNITS_NS[times.unit]
        self.resolution_ns = unit if times.resolution is None else duration_ns(times.resolution)

    def interval(self, row: dict[str, Any]) -> tuple[int, int | None]:
        """The end is None where the row does not say it."""
        times = self._times
        start, end = self._moment(row, times.start), self._moment(row, times.end)
        lasted = _decimal(row.get(times.duration), times.duration) if times.duration else None
        duration = None if lasted is None else int(lasted * self._duration_unit)
        if start is None and end is not None and duration is not None:
            start = end - duration
        if start is None:
            raise ImportFailed("nothing says when it began")
        if end is None and duration is not None:
            end = start + duration
        if end is not None and end < start - self.resolution_ns:
            raise ImportFailed("it ended before it began: are `start` and `end` in [time] the right ones?")
        return start, None if end is None else max(start, end)

    def _moment(self, row: dict[str, Any], name: str | None) -> int | None:
        if name is None or row.get(name) is None:
            return None
        if self._times.unit != "iso":
            number = _decimal(row[name], name)
            return None if number is None else int(number * UNITS_NS[self._times.unit])
        try:
            moment = datetime.fromisoformat(str(row[name]))
        except ValueError:
            raise ImportFailed(f"{name} is {row[name]!r}, which is no time like 2026-11-29T12:00:00.123Z") from None
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * UNITS_NS["s"] + since.microseconds * UNITS_NS["us"]


class _NumberOfName(dict[str, int]):
    def of(self, name: str) -> int:
        return self.setdefault(name, len(self))


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _decimal(value: Any, name: str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > LARGEST:
        raise ImportFailed(f"{name} is {value!r}, which is no number")
    return number


def _whole(value: Any, name: str) -> int | None:
    number = _decimal(value, name)
    if number is None:
        return None
    if number != int(number):
        raise ImportFailed(f"{name} is {value!r}, which is no whole number")
    return int(number)


def _tickets(value: Any, name: str) -> list[int] | None:
    """Ticket numbers: a list, a JSON list, or numbers with anything between them that is no digit."""
    if value is None:
        return None
    parts = value if isinstance(value, list) else re.findall(r"[0-9]+", str(value))
    numbers = [number for each in parts if (number := _whole(each, name)) is not None]
    if not numbers or len(numbers) > MOST_TICKETS:
        raise ImportFailed(f"{name} is {json.dumps(value)}, which holds no ticket numbers")
    return numbers


def told(counts: Counter[str]) -> list[str]:
    """The most frequent of some counted reasons, each as a line."""
    lines = [f"{count:,} × {what}" for what, count in counts.most_common(_SHOWN)]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_SHOWN))
    return lines + ([f"{rest:,} × others"] if rest else [])
