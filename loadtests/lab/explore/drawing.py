"""A schedule drawn: a lane for each buyer, a row for each step, and the step at which it went wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape

from rich.table import Table
from rich.text import Text

from loadtests.lab.explore.trace import Step

_LANE, _ROW, _TOP, _LEFT, _WORDS = 92, 40, 56, 20, 560
_STYLE = """
.d{font:14px system-ui,sans-serif;fill:#1c1b19}.d.soft{fill:#6b675f;font-size:12px}.d.head{font-weight:700;font-size:16px}
.lane{stroke:#cfc8b8;stroke-width:2}.turn{stroke:#8a857a;stroke-width:1.5;fill:none}.dot{fill:#17527a}
.read{fill:#b3541e}.write{fill:#17527a}.told{fill:#3d8c5c}.other{fill:#8a857a}.wrong{fill:#c2453a}
.alarm{fill:#f7dcd8}.badge{font:600 12px system-ui,sans-serif;fill:#fff}.paper{fill:#fff}
@media (prefers-color-scheme:dark){.d{fill:#f1eee7}.d.soft{fill:#a8a297}.lane{stroke:#4a463e}.alarm{fill:#4a2420}
.paper{fill:#211f1c}.turn{stroke:#a8a297}}
"""
_KINDS = {"view": "read", "append": "write", "answer": "told"}


def svg(steps: Sequence[Step], buyers: int, title: str) -> str:
    """The schedule as a standalone SVG; its sentences are text, for search and for screen readers."""
    names = [chr(ord("A") + number) for number in range(buyers)]
    words = _LEFT + _LANE * buyers + 24
    width, height = words + _WORDS, _TOP + _ROW * len(steps) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>'
    ]
    for number, name in enumerate(names):
        x = _LEFT + _LANE * number + _LANE / 2
        parts.append(
            f'<text class="d head" x="{x}" y="28" text-anchor="middle">{name}</text>'
            f'<line class="lane" x1="{x}" x2="{x}" y1="40" y2="{height - 12}"/>'
        )
    parts.append(f'<text class="d soft" x="{words}" y="28">what happens</text>')
    for number, step in enumerate(steps):
        parts.append(_row(step, number, names, words, width))
    for number, (step, after) in enumerate(itertools.pairwise(steps)):
        if step.buyer != after.buyer:
            parts.append(_turn(names.index(step.buyer), names.index(after.buyer), number))
    return "".join([*parts, "</svg>\n"])


def _place(lane: int, row: int) -> tuple[float, float]:
    return _LEFT + _LANE * lane + _LANE / 2, _TOP + _ROW * row + _ROW / 2


def _row(step: Step, number: int, names: Sequence[str], words: int, width: int) -> str:
    x, y = _place(names.index(step.buyer), number)
    kind = "wrong" if step.wrong else _KINDS.get(step.gate, "other")
    alarm = (
        f'<rect class="alarm" x="6" y="{y - _ROW / 2 + 2}" width="{width - 12}" height="{_ROW - 4}" rx="6"/>'
        if step.wrong
        else ""
    )
    first, second = _wrapped(step.text)
    lines = (
        f'<text class="d" x="{words}" y="{y + 5}">{escape(first)}</text>'
        if not second
        else f'<text class="d" x="{words}" y="{y - 3}">{escape(first)}</text>'
        f'<text class="d" x="{words}" y="{y + 14}">{escape(second)}</text>'
    )
    return (
        f'{alarm}<rect class="{kind}" x="{x - 36}" y="{y - 12}" width="72" height="24" rx="12"/>'
        f'<text class="badge" x="{x}" y="{y + 4}" text-anchor="middle">{escape(step.gate)}</text>{lines}'
    )


def _turn(before: int, after: int, row: int) -> str:
    """Somebody else goes on: a thin line from lane to lane."""
    (x, y), (to_x, to_y) = _place(before, row), _place(after, row + 1)
    middle = (y + to_y) / 2
    return f'<path class="turn" d="M{x},{y + 12} V{middle} H{to_x} V{to_y - 12}" stroke-dasharray="3 3"/>'


def _wrapped(text: str, room: int = 76) -> tuple[str, str]:
    if len(text) <= room:
        return text, ""
    cut = text.rfind(". ", 0, room)
    cut = cut + 1 if cut > 0 else text.rfind(" ", 0, room)
    return text[:cut].strip(), text[cut:].strip()


def table(steps: Sequence[Step], buyers: int) -> Table:
    """The schedule for the terminal: two lanes, the gates, a sentence a step."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", justify="right", style="dim")
    for number in range(buyers):
        shown.add_column(chr(ord("A") + number), justify="center", style="bold")
    shown.add_column("what happens")
    for number, step in enumerate(steps, 1):
        lanes = [
            Text(step.gate, "bold red" if step.wrong else "cyan")
            if chr(ord("A") + lane) == step.buyer
            else Text("│", "dim")
            for lane in range(buyers)
        ]
        shown.add_row(str(number), *lanes, Text(step.text, "bold red" if step.wrong else ""))
    return shown
