"""The drawing of a schedule: a lane for each buyer, a row for each step, the step at which it went wrong, and why."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from loadtests.lab.explore.reason import Reason
from loadtests.lab.explore.schedules import buyer_names
from loadtests.lab.explore.trace import TraceStep
from loadtests.lab.report import svg

_LANE, _ROW, _TOP, _LEFT, _WORDS, _LINE_CHARS = 92, 40, 56, 32, 560, 76
_GUTTER, _WIDE_CHARS = 44, 112
_STYLE = """
.ls text{font:14px system-ui,sans-serif;fill:#1c1b19}.ls .soft{fill:#6b675f;font-size:12px}
.ls .head{font-weight:700;font-size:16px}.ls .badge{font:600 12px system-ui,sans-serif;fill:#fff}
.lane{stroke:#cfc8b8;stroke-width:2}.turn{stroke:#8a857a;stroke-width:1.5;fill:none;stroke-dasharray:3 3}
.read{fill:#b3541e}.write{fill:#17527a}.told{fill:#3d8c5c}.other{fill:#8a857a}.wrong{fill:#c2453a}
.alarm{fill:#f7dcd8}.paper{fill:#fff}.pair{stroke:#c2453a;stroke-width:2.5;fill:none}
@media (prefers-color-scheme:dark){.ls text{fill:#f1eee7}.ls .soft{fill:#a8a297}.lane{stroke:#4a463e}
.alarm{fill:#4a2420}.paper{fill:#211f1c}.turn{stroke:#a8a297}}
"""
_KINDS = {"view": "read", "append": "write", "answer": "told"}


def draw(
    steps: Sequence[TraceStep], buyers: int, title: str, heading: str = "what happens", reason: Reason | None = None
) -> str:
    """The schedule as a standalone SVG, with the reason. Its sentences are text, for search and for screen readers."""
    names = buyer_names(buyers)
    words = _LEFT + _LANE * buyers + _GUTTER
    below = [line for sentence in reason.sentences for line in _wrapped(sentence, _WIDE_CHARS)] if reason else []
    foot = _TOP + _ROW * len(steps) + 12
    longest = max((svg.width_of(line, 14) for step in steps for line in _wrapped(step.text)), default=0)
    width, height = words + max(_WORDS, longest + 16), foot + (22 * len(below) + 14 if below else 4)
    body = [svg.box(0, 0, width, height, "paper", 8), svg.text(heading, words, 28, "soft")]
    for number, name in enumerate(names):
        x, _ = _place(number, 0)
        body += [svg.text(name, x, 28, "head", "middle"), svg.line(x, 40, x, foot - 8, "lane")]
    lanes = {name: lane for lane, name in enumerate(names)} | {"": (buyers - 1) / 2}
    for number, (step, after) in enumerate(itertools.pairwise(steps)):
        if step.buyer != after.buyer:
            (x, y), (to_x, to_y) = _place(lanes[step.buyer], number), _place(lanes[after.buyer], number + 1)
            body.append(f'<path class="turn" d="M{x},{y + 12} V{(y + to_y) / 2} H{to_x} V{to_y - 12}"/>')
    for number, step in enumerate(steps):
        body += _row(step, number, _place(lanes[step.buyer], number), words, width)
    if reason and reason.steps:
        (x, y), (to_x, to_y) = (_place(lanes[steps[number].buyer], number) for number in reason.steps)
        body.append(f'<path class="pair" d="M{x + 36},{y} H{words - 20} V{to_y} H{to_x + 36}"/>')
    body += [svg.text(line, _LEFT, foot + 18 + 22 * number) for number, line in enumerate(below)]
    about = "From top to bottom, each step with its buyer, the gate, and what happens."
    if reason and reason.steps:
        about += " A bracket joins the two that conflicted."
    return svg.document(body, width, height, title=title, about=about, name="schedule", style=_STYLE)


def _place(lane: float, row: int) -> tuple[float, float]:
    return _LEFT + _LANE * lane + _LANE / 2, _TOP + _ROW * row + _ROW / 2


def _row(step: TraceStep, number: int, place: tuple[float, float], words: int, width: float) -> Iterator[str]:
    x, y = place
    if step.wrong:
        yield svg.box(6, y - _ROW / 2 + 2, width - 12, _ROW - 4, "alarm", 6)
    yield svg.text(str(number + 1), 28, y + 4, "soft", "end")
    yield svg.box(x - 36, y - 12, 72, 24, "wrong" if step.wrong else _KINDS.get(step.gate, "other"), 12)
    yield svg.text(step.gate, x, y + 4, "badge", "middle")
    lines = _wrapped(step.text)
    for row, line in enumerate(lines):
        yield svg.text(line, words, y + 5 if len(lines) == 1 else y - 3 + 17 * row)


def _wrapped(text: str, chars: int = _LINE_CHARS) -> list[str]:
    """The text in one line or two, the second after a sentence if possible."""
    if len(text) <= chars:
        return [text]
    chars = max(chars, len(text) * 3 // 5)
    cut = text.rfind(". ", 0, chars)
    cut = cut + 1 if cut > 0 else text.rfind(" ", 0, chars)
    return [text[:cut].strip(), text[cut:].strip()]


def table(steps: Sequence[TraceStep], buyers: int, reason: Reason | None = None) -> Table:
    """The schedule for the terminal: a column for each buyer with the gates, a bracket between the two steps that
    conflicted, and a sentence for each step."""
    names = buyer_names(buyers)
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", justify="right", style="dim")
    for name in names:
        shown.add_column(name, justify="center", style="bold")
    pair = sorted(reason.steps) if reason else []
    if pair:
        shown.add_column("", style="bold red")
    shown.add_column("what happens")
    for number, step in enumerate(steps):
        gate = Text(step.gate, "bold red" if step.wrong else "cyan")
        lanes = [gate if step.buyer in ("", name) else Text("│", "dim") for name in names]
        bracket = [_bracket(number, pair[0], pair[1])] if pair else []
        shown.add_row(str(number + 1), *lanes, *bracket, Text(step.text, "bold red" if step.wrong else ""))
    return shown


def _bracket(number: int, first: int, last: int) -> str:
    if number in {first, last}:
        return "─┐" if number == first else "─┘"
    return " │" if first < number < last else ""
