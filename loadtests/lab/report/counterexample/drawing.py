"""The drawing of a counterexample: the operations that prove a violation, a lane for each client, as a static SVG.

A bar begins when a client sent a request and ends when it had the whole answer: the operation took effect somewhere in
between. The request stands above its bar, the answer below it. Operations that take part are marked, a few that were
under way at the same time are grey, and the rest of the history is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadtests.lab.checks.findings import VIOLATIONS
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.operations import Operations
from loadtests.lab.report import svg
from loadtests.lab.report.counterexample.selection import (
    MOST_RECORDS,
    Counterexample,
    DrawnOperation,
    DrawnRecord,
    DrawnRow,
    select,
)
from loadtests.lab.report.counterexample.sentence import (
    asked,
    client,
    duration,
    numbers_of,
    rivals,
    saw_before,
    seats_of,
    sentence,
    told,
)
from loadtests.lab.report.counterexample.time_axis import TimeAxis, time_axis
from loadtests.lab.report.text import counted

_W, _LEFT, _RIGHT = 1080.0, 104.0, 1064.0
_OPERATION_H, _OTHER_H, _TOP, _AXIS_H = 80.0, 28.0, 34.0, 34.0
_BAR_H, _THIN_H, _RECORD_H = 22.0, 19.0, 66.0
_SEAT, _SEAT_ROW_H = 34.0, 112.0
_LEAST_BAR = 3.0
_RECORD_CHARS = 22


@dataclass(frozen=True)
class Drawing:
    """A counterexample for a page: its violations, the sentence, the SVG, and the operations as rows of a table."""

    name: str
    title: str
    meaning: str
    sentence: str
    svg: str
    rows: list[dict[str, str]]


def draw_all(verdict: Verdict, run: Operations, audits: Mapping[str, Audit], name: str) -> list[Drawing]:
    """A drawing for each violation found, the clearest first, at most four; none for a verdict without violations.

    ``name`` begins the ids within the page.
    """
    return [draw(example, f"{name}-{number}") for number, example in enumerate(select(verdict, run, audits), 1)]


def draw(example: Counterexample, name: str) -> Drawing:
    violations = (example.violation, *example.also)
    title = ", ".join(violations).capitalize()
    words = sentence(example)
    body, height = _body(example)
    return Drawing(
        name=name,
        title=title,
        meaning="; ".join(VIOLATIONS.get(violation, "") for violation in violations),
        sentence=words,
        svg=svg.document(body, _W, height, title=title, about=words, name=name),
        rows=[_row(operation, _zero(example)) for operation in example.operations],
    )


def _body(example: Counterexample) -> tuple[list[str], float]:
    """The content of the drawing, and its height."""
    shown = example.operations or example.neighbours
    parts: list[str] = []
    y = 6.0
    if shown:
        if all(operation.return_ns is None for operation in shown):  # a moment has no width
            shown = (*shown, *example.neighbours)
        times = time_axis([(operation.invoke_ns, _end(operation)) for operation in shown], _LEFT, _RIGHT)
        parts, y = _lanes(example, times)
    for row in example.rows:
        parts += _row_of_seats(row, y)
        y += _SEAT_ROW_H
    if example.records:
        parts += _list(example.records, y)
        y += _RECORD_H + 40
    if not parts:
        parts, y = [svg.text("No single operation can be blamed.", 16, 24, "soft")], 36.0
    return parts, y


def _lanes(example: Counterexample, times: TimeAxis) -> tuple[list[str], float]:
    bottom = _TOP + _OPERATION_H * len(example.operations)
    lanes = list(dict.fromkeys(operation.process for operation in example.neighbours))
    foot = bottom + (26 + _OTHER_H * len(lanes) if lanes else 0)
    operations = _in_order(example)
    parts = [*_axis(example, times, foot), *_between(example, times, bottom)]
    previous = None
    for number, operation in enumerate(operations):
        parts += _operation(operation, times, _TOP + number * _OPERATION_H, named=operation.process != previous)
        previous = operation.process
    if lanes:
        parts.append(svg.text(_beside(example), 16, bottom + 16, "soft"))
    for number, process in enumerate(lanes):
        operations = [operation for operation in example.neighbours if operation.process == process]
        parts += _lane(process, operations, times, bottom + 26 + number * _OTHER_H)
    return parts, foot + _AXIS_H


def _in_order(example: Counterexample) -> list[DrawnOperation]:
    return sorted(example.operations, key=lambda operation: (operation.invoke_ns, operation.line))


def _beside(example: Counterexample) -> str:
    if not example.operations:
        return "The last operations of the event; no single one of them is to blame."
    shown, all_ = len(example.neighbours), example.overlapping
    others = f"{shown} others" if shown == all_ else f"{shown} of {all_:,} others"
    return f"{others} that were under way meanwhile" if all_ > 1 else "one other that was under way meanwhile"


def _axis(example: Counterexample, times: TimeAxis, y: float) -> Iterator[str]:
    unit, size = _unit(sum(each.end_ns - each.begin_ns for each in times.stretches))
    for stretch in times.stretches:
        yield svg.line(stretch.left, y, stretch.right, y, "axis")
    for moment, x in times.ticks(_zero(example)):
        yield svg.line(x, _TOP - 8, x, y + 4, "grid")
        yield svg.text(f"{moment / size + 0:,.10g} {unit}", x, y + 18, "soft", "middle")
    for before, after in zip(times.stretches, times.stretches[1:], strict=False):
        middle = (before.right + after.left) / 2
        yield svg.line(middle, _TOP - 8, middle, y, "cut")
        yield svg.text(f"{duration(int(after.begin_ns - before.end_ns))} left out", middle, _TOP - 14, "soft", "middle")


def _between(example: Counterexample, times: TimeAxis, bottom: float) -> Iterator[str]:
    """The relation of the two rivals: both were under way at once, or one had ended before the other was sent."""
    pair = rivals(example)
    if pair is None:
        return
    a, b = pair
    if max(a.invoke_ns, b.invoke_ns) > min(_end(a), _end(b)) and example.violation != "inversion":
        return
    begin, end = max(a.invoke_ns, b.invoke_ns), min(_end(a), _end(b))
    apart = begin > end
    if apart:
        begin, end = end, begin
    left, right = times.x(begin), times.x(end)
    rows = sorted(_in_order(example).index(operation) for operation in pair)
    top, low = _TOP + rows[0] * _OPERATION_H, min(bottom, _TOP + (rows[1] + 1) * _OPERATION_H)
    words = f"{duration(end - begin)} between answer and question" if apart else "both under way at once"
    yield svg.box(left, top - 6, max(right - left, 1), low - top, "together")
    for x in (left, right):
        yield svg.line(x, top - 6, x, low - 6, "edge")
    half = svg.width_of(words, 12) / 2
    middle = min(max((left + right) / 2, _LEFT + half), _RIGHT - half)
    yield svg.text(words, middle, top - 11, "alarm soft", "middle")


def _operation(operation: DrawnOperation, times: TimeAxis, y: float, *, named: bool) -> Iterator[str]:
    """One operation that takes part: focusable, with the request above its bar and the answer below."""
    left, right = _ends(operation, times)
    answer = f"{told(operation)}{_facts(operation)}"
    question = asked(operation) + (f", attempt {operation.attempt}" if operation.attempt > 1 else "")
    words = f"{client(operation)} {question} and {answer}."
    yield f'<g tabindex="0" role="img" aria-label="{svg.escaped(words)}"><title>{svg.escaped(words)}</title>'
    yield svg.box(6, y - 4, _W - 12, _OPERATION_H - 4, "focus", 8)
    if named:
        yield svg.text(client(operation), 16, y + 38, "strong")
    key = f"   key {operation.key}" if operation.key else ""
    yield _label(question, key, (left, right), y + 17, "strong")
    yield svg.box(left, y + 23, right - left, _BAR_H, "act", 4)
    before = saw_before(operation)
    saw = "" if before is None else f"read {before[0]:,} left, version {before[1]:,}"
    if saw and svg.width_of(saw, 12) + 16 <= right - left:
        yield svg.text(saw, left + 8, y + 38, "inside")
    if operation.return_ns is None:
        yield svg.box(left, y + 23, _RIGHT - left, _BAR_H, "open", 4)
    else:
        yield svg.line(right, y + 20, right, y + 48, "end")
    yield svg.line(left, y + 20, left, y + 48, "end")
    yield _label(told(operation), _facts(operation), (left, right), y + 62, "alarm")
    yield "</g>"


def _label(strong: str, rest: str, bar: tuple[float, float], y: float, kind: str) -> str:
    """A line of text that begins where its bar begins, or ends where the bar ends if it would not fit otherwise."""
    words, (left, right) = strong + rest, bar
    fits = left + svg.width_of(words) <= _RIGHT
    x = left if fits else max(right, _LEFT + svg.width_of(words))
    head = f'<tspan class="{kind}">{svg.escaped(strong)}</tspan>'
    tail = f'<tspan class="soft">{svg.escaped(rest)}</tspan>' if rest else ""
    side = "" if fits else ' text-anchor="end"'
    return f'<text x="{svg.number(min(x, _RIGHT))}" y="{svg.number(y)}"{side} xml:space="preserve">{head}{tail}</text>'


def _lane(process: int, operations: list[DrawnOperation], times: TimeAxis, y: float) -> Iterator[str]:
    """The lane of a client that takes no part: thin and grey, with its answer if there is room for it."""
    yield svg.text(f"client {process}", 16, y + 15, "soft")
    ends = [_ends(operation, times) for operation in operations]
    for number, (operation, (left, right)) in enumerate(zip(operations, ends, strict=True)):
        words = f"{client(operation)} {asked(operation)} and {told(operation)}{_facts(operation)}"
        room = (ends[number + 1][0] if number + 1 < len(ends) else _RIGHT) - right
        yield f"<g><title>{svg.escaped(words)}</title>{svg.box(left, y + 2, right - left, _THIN_H, 'other', 4)}"
        if operation.return_ns is None:
            yield svg.box(left, y + 2, _RIGHT - left, _THIN_H, "open faint", 4)
        short = _short(operation)
        needed = svg.width_of(short, 12) + 12
        if needed <= max(room, right - left):
            yield svg.text(short, (left if needed <= right - left else right) + 7, y + 15, "soft")
        yield "</g>"


def _short(operation: DrawnOperation) -> str:
    at = "" if operation.version is None else f", version {operation.version:,}"
    if operation.outcome == "ok" and operation.tickets:
        return (seats_of(operation.seats) if operation.seats else numbers_of(operation.tickets)) + at
    return told(operation).removeprefix("was ").removeprefix("told ") + at


def _row_of_seats(row: DrawnRow, y: float) -> Iterator[str]:
    """A row of the hall, a box a seat with its number; those in question have a thick edge, and their ids below."""
    others = f"; {row.left_out:,} seats of it are left out" if row.left_out else ""
    words = f"{row.title}, {counted(len(row.seats), 'seat')}{others}. In question: {', '.join(row.marked)}."
    yield f'<g role="img" aria-label="{svg.escaped(words)}"><title>{svg.escaped(words)}</title>'
    yield svg.text(row.title + others, 16, y + 20, "strong")
    below = y + 30 + _SEAT
    ends = [0.0, 0.0]  # of the ids in the two lines below, so that none is written over another
    for number, seat in enumerate(row.seats):
        left = 16 + number * (_SEAT + 8)
        is_marked = seat in row.marked
        yield svg.box(left, y + 30, _SEAT, _SEAT, "entry wrong" if is_marked else "entry", 8)
        short = seat.rpartition("-")[2]
        if svg.width_of(short) <= _SEAT - 4:
            yield svg.text(short, left + _SEAT / 2, below - 12, "alarm" if is_marked else "soft", "middle")
        at = min(max(left + (_SEAT - svg.width_of(seat)) / 2, 16), _RIGHT - svg.width_of(seat))
        line = next((line for line, end in enumerate(ends) if at >= end), None)
        if is_marked and line is not None:
            yield svg.text(seat, at, below + 18 + 17 * line, "alarm")
            ends[line] = at + svg.width_of(seat) + 10
    if row.left_out:
        yield svg.text("…", 16 + len(row.seats) * (_SEAT + 8), below - 12, "soft")
    yield "</g>"


def _list(records: tuple[DrawnRecord, ...], y: float) -> Iterator[str]:
    """A part of the audit, which is the service's own list of its commits, in its order."""
    yield svg.text("The office's own list, in its order", 16, y + 20, "strong")
    x, previous = 16.0, None
    width = (_RIGHT - 16) / MOST_RECORDS - 12
    for record in records:
        if previous is not None and record.place != previous + 1:
            yield svg.text("…", x + 2, y + 58, "soft")
            x += 22
        key = "by the service itself" if record.key is None else f"key {record.key}"
        given = numbers_of(record.tickets) if record.tickets else ""
        yield f"<g><title>{svg.escaped(f'record {record.place}: {record.kind}, {key} {given}')}</title>"
        yield svg.box(x, y + 32, width, _RECORD_H, f"entry {record.mark}", 6)
        title = f"version {record.version:,} · {record.kind}"
        yield svg.text(title, x + 10, y + 51, "alarm" if record.mark == "wrong" else "strong")
        for row, words in enumerate((key, given)):
            short = words if len(words) <= _RECORD_CHARS else f"{words[: _RECORD_CHARS - 1]}…"
            yield svg.text(short, x + 10, y + 69 + 17 * row, "soft")
        yield "</g>"
        x += width + 8
        previous = record.place


def _facts(operation: DrawnOperation) -> str:
    facts = []
    if operation.remaining is not None and operation.op != "read":
        facts.append(f"{operation.remaining:,} left")
    if operation.version is not None:
        facts.append(f"version {operation.version:,}")
    if operation.replayed:
        facts.append("an earlier answer repeated")
    return "".join(f" · {fact}" for fact in facts)


def _row(operation: DrawnOperation, zero: int) -> dict[str, str]:
    """An operation as a row of the table below its drawing."""
    unasked = "" if operation.quantity is None else f" ({counted(operation.quantity, 'ticket')})"
    return {
        "client": str(operation.process),
        "operation": operation.op + unasked,
        "key": operation.key or "–",
        "asked": f"+{duration(operation.invoke_ns - zero)}",
        "answered": "never" if operation.return_ns is None else f"+{duration(operation.return_ns - zero)}",
        "answer": told(operation),
        "version": "–" if operation.version is None else f"{operation.version:,}",
        "line": f"{operation.line:,}",
    }


def _ends(operation: DrawnOperation, times: TimeAxis) -> tuple[float, float]:
    left, right = times.x(operation.invoke_ns), times.x(_end(operation), ends=True)
    return left, max(right, left + _LEAST_BAR)


def _end(operation: DrawnOperation) -> int:
    return operation.invoke_ns if operation.return_ns is None else operation.return_ns


def _zero(example: Counterexample) -> int:
    return min((operation.invoke_ns for operation in example.operations or example.neighbours), default=0)


def _unit(span_ns: float) -> tuple[str, int]:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if span_ns >= 2 * size:
            return unit, size
    return "ns", 1
