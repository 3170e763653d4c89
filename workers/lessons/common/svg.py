"""Figures as SVG: timelines, bars, graphs. Each is a document that follows the reader's light or dark setting.

No plotting library draws them: so a figure is a few kilobytes, its words stay text (for search and for screen
readers), and it has the page's colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from loadtests.lab.report.svg import box, escaped, text
from loadtests.lab.report.svg.chart import round_step
from workers.lessons.common.figures import Arrow, BarChart, Figure, Graph, Span, Timeline, bar_text
from workers.lessons.common.translation import Translate, unchanged

WIDTH = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 130, 24, 44, 46
_BAR = 18
_NODE_HALF_WIDTH, _NODE_HALF_HEIGHT = 50.0, 17.0
# The free space between an arrow's end and its node.
_GAP = 3.0
# Without colours the hatching tells styles and series apart: lines, dots, crosses, and one of each that is plain.
_STYLE = """
svg{--h:#fff}.f{font:13px system-ui,sans-serif;fill:#1c1b19}.t{font-weight:600;font-size:15px}.s{fill:#6b675f;font-size:12px}
.l{stroke:#ddd8cd;stroke-width:1}.faint{--c:#dce8f2;--h:#7d9dba}.wait{--c:#efebe1;--h:#857f71}
.plain{--c:#4f7fa8}.good{--c:#2f7a4e}.bad{--c:#b53529}
.c0{--c:#17527a}.c1{--c:#b3541e}.c2{--c:#3d8c5c}.c3{--c:#8a4fa0}.c4{--c:#8a7a10}.c5{--c:#c2453a}.c6{--c:#4a4a4a}
.k{fill:var(--c)}.h{fill:none;stroke:var(--h);stroke-width:1.5}
rect.faint{fill:url(#h-faint)}rect.wait{fill:url(#h-wait)}rect.plain{fill:url(#h-plain)}rect.bad{fill:url(#h-bad)}
rect.good,path.plain,path.bad,.bar{fill:var(--c)}.c1 .bar{fill:url(#h-c1)}.c2 .bar{fill:url(#h-c2)}.c3 .bar{fill:url(#h-c3)}
.c4 .bar{fill:url(#h-c4)}.c5 .bar{fill:url(#h-c5)}.c6 .bar{fill:url(#h-c6)}
.node{fill:#fff;stroke:#6b675f;stroke-width:1.5}.edge{stroke:var(--c);stroke-width:2}.edge.bad{stroke-dasharray:7 4}
.i{fill:#1c1b19;stroke:#fff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
@media screen and (prefers-color-scheme:dark){svg{--h:#161513}.f{fill:#f1eee7}.s{fill:#a8a297}.i{fill:#f1eee7;stroke:#161513}.l{stroke:#3a3732}
.node{fill:#211f1c;stroke:#a8a297}.faint{--c:#2b3b4a;--h:#8fb0cc}.wait{--c:#35322c;--h:#a39d8e}
.plain{--c:#7fb0d8}.good{--c:#5db885}.bad{--c:#ec7d70}
.c0{--c:#7fbce6}.c1{--c:#eb9a63}.c2{--c:#7fd0a0}.c3{--c:#c79ad8}.c4{--c:#d8c860}.c5{--c:#f09084}.c6{--c:#bbb}}
"""
_HATCHINGS = {
    "faint": "M-1 5 5-1M3 9 9 3",
    "wait": "M2 2h1.6M6 6h1.6",
    "plain": "M2 0V8M6 0V8",
    "bad": "M0 0 8 8M8 0 0 8",
    "c1": "M-1 5 5-1M3 9 9 3",
    "c2": "M2 2h1.6M6 6h1.6",
    "c3": "M2 0V8M6 0V8",
    "c4": "M0 0 8 8M8 0 0 8",
    "c5": "M0 2H8M0 6H8",
    "c6": "M-1 3 5 9M3-1 9 5",
}
_PATTERNS = "".join(
    f'<pattern id="h-{name}" class="{name}" width="8" height="8" patternUnits="userSpaceOnUse">'
    f'<rect class="k" width="8" height="8"/><path class="h" d="{lines}"/></pattern>'
    for name, lines in _HATCHINGS.items()
)

Point = tuple[float, float]


def svg(figure: Figure, translate: Translate = unchanged) -> str:
    """The figure as an SVG document."""
    if isinstance(figure, Timeline):
        body, height = _timeline(figure, translate)
    else:
        body, height = _graph(figure, translate) if isinstance(figure, Graph) else _bars(figure, translate)
    title = escaped(translate(figure.title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{_STYLE}</style><defs>{_PATTERNS}</defs>{text(translate(figure.title), 12, 24, 'f t')}"
        f"{''.join(body)}</svg>\n"
    )


def round_ticks(end: float) -> list[float]:
    """About six round numbers from 0 to ``end``."""
    step = round_step(end / 6)
    return [step * number for number in range(int(end / step + 1e-9) + 1)]


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def _width_of(words: str) -> float:
    """The approximate width of a text in pixels; a Chinese character is twice as wide."""
    return 6.8 * cell_len(words)


def _margin(labels: Sequence[str]) -> float:
    """The space on the left for the longest label."""
    return min(WIDTH / 2, max([float(_LEFT), *(_width_of(label) + 16 for label in labels)]))


def _legend(entries: Sequence[tuple[str, str, str]], x: float, y: float) -> list[str]:
    """Patches of colour and their labels, side by side; an entry is the group's class, the patch's class, the label."""
    parts = []
    for group, patch, label in entries:
        shown = box(x, y - 9, 12, 10, patch, 2) + text(label, x + 17, y, "f s")
        parts.append(f'<g class="{group}">{shown}</g>')
        x += 34 + _width_of(label)
    return parts


def _timeline(figure: Timeline, translate: Translate) -> tuple[list[str], int]:
    left = _margin([translate(name) for name in figure.lanes])
    row = 22 if len(figure.lanes) <= 24 else 12
    bottom = _TOP + row * len(figure.lanes)
    height = bottom + _BOTTOM
    scale = (WIDTH - left - _RIGHT) / figure.end_s
    legend = [("", style, translate(label)) for style, label in figure.legend.items()]
    # The legend begins further left if it would not fit otherwise.
    legend_x = max(12.0, min(left, WIDTH - sum(34 + _width_of(label) for *_, label in legend)))
    parts = _legend(legend, legend_x, height - 8)
    for tick in round_ticks(figure.end_s):
        x = left + tick * scale
        parts.append(f'<line class="l" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>')
        parts.append(text(_duration(round(tick, 6)), x, bottom + 18, "f s", "middle"))
    for number, (name, spans) in enumerate(figure.lanes.items()):
        y = _TOP + number * row
        parts.append(text(translate(name), left - 8, y + row * 0.7, "f s", "end"))
        parts += [_span(span, translate(span.label), left + span.start_s * scale, y, row, scale) for span in spans]
    return parts, height


def _span(span: Span, label: str, x: float, y: float, row: int, scale: float) -> str:  # noqa: PLR0917
    width = max(1.5, (span.end_s - span.start_s) * scale)
    tip = f"{label} {_duration(round(span.start_s, 4))} – {_duration(round(span.end_s, 4))}"
    fits = label and width > _width_of(label) + 8 and row > 12
    shown = text(label, x + 4, y + row * 0.68, "f s i") if fits else ""
    return f"<g><title>{escaped(tip)}</title>{box(x, y + 2, width, row - 4, span.style, 2)}{shown}</g>"


def _bars(figure: BarChart, translate: Translate) -> tuple[list[str], int]:
    groups = list(dict.fromkeys(group for bars in figure.series.values() for group, _ in bars))
    left = _margin([translate(group) for group in groups])
    band = _BAR * len(figure.series) + 14
    height = _TOP + 22 + band * len(groups) + _BOTTOM
    legend = [(f"c{number % 7}", "bar", translate(name)) for number, name in enumerate(figure.series)]
    parts = _legend(legend, _LEFT, _TOP + 6) if len(legend) > 1 else []
    for group_number, group in enumerate(groups):
        y = _TOP + 22 + group_number * band
        parts.append(text(translate(group), left - 8, y + (band - 14) / 2 + 4, "f s", "end"))
        for number, bars in enumerate(figure.series.values()):
            for value in (value for name, value in bars if name == group):
                length = figure.share(value) * (WIDTH - left - _RIGHT - 70)
                bar = box(left, y + number * _BAR + 1, max(length, 1), _BAR - 3, "bar", 2)
                parts.append(f'<g class="c{number % 7}">{bar}</g>')
                parts.append(text(bar_text(value), left + length + 6, y + number * _BAR + 13, "f s"))
    return [*parts, text(translate(figure.value_label), left, height - 16, "f s")], height


def _graph(figure: Graph, translate: Translate) -> tuple[list[str], int]:
    more = max(0, len(figure.nodes) - 4)
    radius_x, radius_y = min(WIDTH / 2 - 100, 230.0 + 10 * more), 105.0 + 22 * more
    centre = WIDTH / 2, _TOP + 30 + radius_y
    places = {}
    for number, name in enumerate(figure.nodes):
        angle = 2 * math.pi * number / max(1, len(figure.nodes)) - math.pi / 2
        places[name] = (centre[0] + radius_x * math.cos(angle), centre[1] + radius_y * math.sin(angle))
    heads = "".join(
        f'<marker id="head-{style}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path class="{style}" d="M0 0 10 5 0 10z"/></marker>'
        for style in ("plain", "bad")
    )
    arrows = [_arrow(arrow, places, centre, translate(arrow.label)) for arrow in figure.arrows]
    width, height = _NODE_HALF_WIDTH, _NODE_HALF_HEIGHT
    nodes = [
        box(x - width, y - height, 2 * width, 2 * height, "node", 4 if name in figure.boxes else height)
        + text(translate(name), x, y + 5, "f", "middle")
        for name, (x, y) in places.items()
    ]
    return [f"<defs>{heads}</defs>", *arrows, *nodes], round(centre[1] + radius_y + 34)


def _arrow(arrow: Arrow, places: Mapping[str, Point], centre: Point, label: str) -> str:
    start, end = places[arrow.start], places[arrow.end]
    (x1, y1), (x2, y2) = _rim(start, end), _rim(end, start)
    style = "bad" if arrow.style == "bad" else "plain"
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    # The label stands on the outer side of the arrow.
    right, below = x > centre[0], y > centre[1]
    return (
        f'<line class="edge {style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'marker-end="url(#head-{style})"/>'
        + text(label, x + (8 if right else -8), y + (16 if below else -6), "f s", "start" if right else "end")
    )


def _rim(start: Point, end: Point) -> Point:
    """The point where a line from one node to another leaves the first node."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = min(
        (_NODE_HALF_WIDTH + _GAP) / abs(dx) if dx else 1.0, (_NODE_HALF_HEIGHT + _GAP) / abs(dy) if dy else 1.0, 0.45
    )
    return start[0] + dx * share, start[1] + dy * share
