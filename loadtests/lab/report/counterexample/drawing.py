"""The counterexample, drawn: the operations that prove a violation, a lane for each client, as a static SVG.

A bar goes from the moment a client asked to the moment it had the whole answer: the operation took effect somewhere
in between. Above a bar stands what was asked, below it what was answered. Operations that take part are marked, a
handful of those under way meanwhile are grey, and the rest of the history is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadtests.lab.checks.findings import VIOLATIONS
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.operations import Operations
from loadtests.lab.report import svg
from loadtests.lab.report.counterexample.selection import MOST_RECORDS, Act, Entry, Scene, scenes
from loadtests.lab.report.counterexample.sentence import (
    asked,
    client,
    duration,
    numbers_of,
    rivals,
    saw_before,
    tell,
    tickets_of,
    told,
)
from loadtests.lab.report.svg.timeline import Timeline, timeline

_W, _LEFT, _RIGHT = 1080.0, 104.0, 1064.0
_ACT_H, _OTHER_H, _TOP, _AXIS_H = 80.0, 28.0, 34.0, 34.0
_BAR_H, _THIN_H, _ENTRY_H = 22.0, 19.0, 66.0
_LEAST_BAR = 3.0
_ENTRY_CHARS = 22


@dataclass(frozen=True)
class Drawing:
    """A counterexample ready for a page: what it is of, the sentence, the SVG, and the acts as rows of a table."""

    name: str
    title: str
    meaning: str
    sentence: str
    svg: str
    rows: list[dict[str, str]]


def counterexamples(verdict: Verdict, run: Operations, audits: Mapping[str, Audit], name: str) -> list[Drawing]:
    """A drawing for each violation found, the most telling first, at most four; none for a verdict without one.

    ``name`` begins the ids within the page.
    """
    return [draw(scene, f"{name}-{number}") for number, scene in enumerate(scenes(verdict, run, audits), 1)]


def draw(scene: Scene, name: str) -> Drawing:
    """Draw one scene."""
    violations = (scene.violation, *scene.also)
    title = ", ".join(violations).capitalize()
    sentence = tell(scene)
    body, height = _body(scene)
    return Drawing(
        name=name,
        title=title,
        meaning="; ".join(VIOLATIONS.get(violation, "") for violation in violations),
        sentence=sentence,
        svg=svg.document(body, _W, height, title=title, about=sentence, name=name),
        rows=[_row(act, _zero(scene)) for act in scene.acts],
    )


def _body(scene: Scene) -> tuple[list[str], float]:
    """What stands in the drawing, and how high it is."""
    shown = scene.acts or scene.neighbours
    parts: list[str] = []
    y = 6.0
    if shown:
        if all(act.return_ns is None for act in shown):  # a moment has no width
            shown = (*shown, *scene.neighbours)
        times = timeline([(act.invoke_ns, _end(act)) for act in shown], _LEFT, _RIGHT)
        parts, y = _lanes(scene, times)
    if scene.entries:
        parts += _list(scene.entries, y)
        y += _ENTRY_H + 40
    if not parts:
        parts, y = [svg.text("No single operation can be blamed.", 16, 24, "soft")], 36.0
    return parts, y


def _lanes(scene: Scene, times: Timeline) -> tuple[list[str], float]:
    bottom = _TOP + _ACT_H * len(scene.acts)
    lanes = list(dict.fromkeys(act.process for act in scene.neighbours))
    foot = bottom + (26 + _OTHER_H * len(lanes) if lanes else 0)
    acts = _in_order(scene)
    parts = [*_axis(scene, times, foot), *_between(scene, times, bottom)]
    previous = None
    for number, act in enumerate(acts):
        parts += _act(act, times, _TOP + number * _ACT_H, named=act.process != previous)
        previous = act.process
    if lanes:
        parts.append(svg.text(_beside(scene), 16, bottom + 16, "soft"))
    for number, process in enumerate(lanes):
        acts = [act for act in scene.neighbours if act.process == process]
        parts += _lane(process, acts, times, bottom + 26 + number * _OTHER_H)
    return parts, foot + _AXIS_H


def _in_order(scene: Scene) -> list[Act]:
    return sorted(scene.acts, key=lambda act: (act.invoke_ns, act.line))


def _beside(scene: Scene) -> str:
    if not scene.acts:
        return "The last operations of the event; none of them is to blame by itself."
    shown, all_ = len(scene.neighbours), scene.overlapping
    others = f"{shown} others" if shown == all_ else f"{shown} of {all_:,} others"
    return f"{others} that were under way meanwhile" if all_ > 1 else "one other that was under way meanwhile"


def _axis(scene: Scene, times: Timeline, y: float) -> Iterator[str]:
    unit, size = _unit(sum(each.end_ns - each.begin_ns for each in times.stretches))
    for stretch in times.stretches:
        yield svg.line(stretch.left, y, stretch.right, y, "axis")
    for moment, x in times.ticks(_zero(scene)):
        yield svg.line(x, _TOP - 8, x, y + 4, "grid")
        yield svg.text(f"{moment / size + 0:,.10g} {unit}", x, y + 18, "soft", "middle")
    for before, after in zip(times.stretches, times.stretches[1:], strict=False):
        middle = (before.right + after.left) / 2
        yield svg.line(middle, _TOP - 8, middle, y, "cut")
        yield svg.text(f"{duration(int(after.begin_ns - before.end_ns))} left out", middle, _TOP - 14, "soft", "middle")


def _between(scene: Scene, times: Timeline, bottom: float) -> Iterator[str]:
    """What matters between the two: that both were under way at once, or that one had ended before the other asked."""
    pair = rivals(scene)
    if pair is None:
        return
    a, b = pair
    if max(a.invoke_ns, b.invoke_ns) > min(_end(a), _end(b)) and scene.violation != "inversion":
        return
    begin, end = max(a.invoke_ns, b.invoke_ns), min(_end(a), _end(b))
    apart = begin > end
    if apart:
        begin, end = end, begin
    left, right = times.x(begin), times.x(end)
    rows = sorted(_in_order(scene).index(act) for act in pair)
    top, low = _TOP + rows[0] * _ACT_H, min(bottom, _TOP + (rows[1] + 1) * _ACT_H)
    words = f"{duration(end - begin)} between answer and question" if apart else "both under way at once"
    yield svg.box(left, top - 6, max(right - left, 1), low - top, "together")
    for x in (left, right):
        yield svg.line(x, top - 6, x, low - 6, "edge")
    half = svg.width_of(words, 12) / 2
    middle = min(max((left + right) / 2, _LEFT + half), _RIGHT - half)
    yield svg.text(words, middle, top - 11, "alarm soft", "middle")


def _act(act: Act, times: Timeline, y: float, *, named: bool) -> Iterator[str]:
    """One operation that takes part: focusable, with what was asked above its bar and what was answered below."""
    left, right = _ends(act, times)
    answer = f"{told(act)}{_facts(act)}"
    question = asked(act) + (f", attempt {act.attempt}" if act.attempt > 1 else "")
    words = f"{client(act)} {question} and {answer}."
    yield f'<g tabindex="0" role="img" aria-label="{svg.escaped(words)}"><title>{svg.escaped(words)}</title>'
    yield svg.box(6, y - 4, _W - 12, _ACT_H - 4, "focus", 8)
    if named:
        yield svg.text(client(act), 16, y + 38, "strong")
    key = f"   key {act.key}" if act.key else ""
    yield _label(question, key, (left, right), y + 17, "strong")
    yield svg.box(left, y + 23, right - left, _BAR_H, "act", 4)
    before = saw_before(act)
    saw = "" if before is None else f"read {before[0]:,} left, version {before[1]:,}"
    if saw and svg.width_of(saw, 12) + 16 <= right - left:
        yield svg.text(saw, left + 8, y + 38, "inside")
    if act.return_ns is None:
        yield svg.box(left, y + 23, _RIGHT - left, _BAR_H, "open", 4)
    else:
        yield svg.line(right, y + 20, right, y + 48, "end")
    yield svg.line(left, y + 20, left, y + 48, "end")
    yield _label(told(act), _facts(act), (left, right), y + 62, "alarm")
    yield "</g>"


def _label(strong: str, rest: str, bar: tuple[float, float], y: float, kind: str) -> str:
    """A line at a bar that begins where the bar does, or ends where it does if it would not fit; the rest is soft."""
    words, (left, right) = strong + rest, bar
    fits = left + svg.width_of(words) <= _RIGHT
    x = left if fits else max(right, _LEFT + svg.width_of(words))
    head = f'<tspan class="{kind}">{svg.escaped(strong)}</tspan>'
    tail = f'<tspan class="soft">{svg.escaped(rest)}</tspan>' if rest else ""
    side = "" if fits else ' text-anchor="end"'
    return f'<text x="{svg.number(min(x, _RIGHT))}" y="{svg.number(y)}"{side} xml:space="preserve">{head}{tail}</text>'


def _lane(process: int, acts: list[Act], times: Timeline, y: float) -> Iterator[str]:
    """The lane of a client that takes no part: thin and grey, with a word where there is room."""
    yield svg.text(f"client {process}", 16, y + 15, "soft")
    ends = [_ends(act, times) for act in acts]
    for number, (act, (left, right)) in enumerate(zip(acts, ends, strict=True)):
        words = f"{client(act)} {asked(act)} and {told(act)}{_facts(act)}"
        room = (ends[number + 1][0] if number + 1 < len(ends) else _RIGHT) - right
        yield f"<g><title>{svg.escaped(words)}</title>{svg.box(left, y + 2, right - left, _THIN_H, 'other', 4)}"
        if act.return_ns is None:
            yield svg.box(left, y + 2, _RIGHT - left, _THIN_H, "open faint", 4)
        short = _short(act)
        needed = svg.width_of(short, 12) + 12
        if needed <= max(room, right - left):
            yield svg.text(short, (left if needed <= right - left else right) + 7, y + 15, "soft")
        yield "</g>"


def _short(act: Act) -> str:
    at = "" if act.version is None else f", version {act.version:,}"
    if act.outcome == "ok" and act.tickets:
        return numbers_of(act.tickets) + at
    return told(act).removeprefix("was ").removeprefix("told ") + at


def _list(entries: tuple[Entry, ...], y: float) -> Iterator[str]:
    """A piece of the audit: the service's own list of what it committed, in its order."""
    yield svg.text("The office's own list, in its order", 16, y + 20, "strong")
    x, previous = 16.0, None
    width = (_RIGHT - 16) / MOST_RECORDS - 12
    for entry in entries:
        if previous is not None and entry.place != previous + 1:
            yield svg.text("…", x + 2, y + 58, "soft")
            x += 22
        key = "by the service itself" if entry.key is None else f"key {entry.key}"
        given = numbers_of(entry.tickets) if entry.tickets else ""
        yield f"<g><title>{svg.escaped(f'record {entry.place}: {entry.kind}, {key} {given}')}</title>"
        yield svg.box(x, y + 32, width, _ENTRY_H, f"entry {entry.mark}", 6)
        title = f"version {entry.version:,} · {entry.kind}"
        yield svg.text(title, x + 10, y + 51, "alarm" if entry.mark == "wrong" else "strong")
        for row, words in enumerate((key, given)):
            short = words if len(words) <= _ENTRY_CHARS else f"{words[: _ENTRY_CHARS - 1]}…"
            yield svg.text(short, x + 10, y + 69 + 17 * row, "soft")
        yield "</g>"
        x += width + 8
        previous = entry.place


def _facts(act: Act) -> str:
    facts = []
    if act.remaining is not None and act.op != "read":
        facts.append(f"{act.remaining:,} left")
    if act.version is not None:
        facts.append(f"version {act.version:,}")
    if act.replayed:
        facts.append("an earlier answer repeated")
    return "".join(f" · {fact}" for fact in facts)


def _row(act: Act, zero: int) -> dict[str, str]:
    """An act as a row of the table below its drawing."""
    unasked = "" if act.quantity is None else f" ({tickets_of(act.quantity)})"
    return {
        "client": str(act.process),
        "operation": act.op + unasked,
        "key": act.key or "–",
        "asked": f"+{duration(act.invoke_ns - zero)}",
        "answered": "never" if act.return_ns is None else f"+{duration(act.return_ns - zero)}",
        "answer": told(act),
        "version": "–" if act.version is None else f"{act.version:,}",
        "line": f"{act.line:,}",
    }


def _ends(act: Act, times: Timeline) -> tuple[float, float]:
    left, right = times.x(act.invoke_ns), times.x(_end(act), ends=True)
    return left, max(right, left + _LEAST_BAR)


def _end(act: Act) -> int:
    return act.invoke_ns if act.return_ns is None else act.return_ns


def _zero(scene: Scene) -> int:
    return min((act.invoke_ns for act in scene.acts or scene.neighbours), default=0)


def _unit(span_ns: float) -> tuple[str, int]:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if span_ns >= 2 * size:
            return unit, size
    return "ns", 1
