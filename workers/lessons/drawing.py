"""Figures as SVG: timelines, lines, bars. One string each, standing alone, light and dark by the reader's setting.

Drawn here and not by a plotting library so that a figure is a few kilobytes, has its words as text (for search and
for screen readers) and follows the page's colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from workers.lessons.drawing_graph import graph
from workers.lessons.form import Figure, Graph, Plot, Span, Timeline

Translate = Callable[[str], str]

WIDTH = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 130, 24, 44, 46
_STYLE = """
.f{font:13px system-ui,sans-serif;fill:#1c1b19}.t{font-weight:600;font-size:15px}.s{fill:#6b675f;font-size:12px}
.l{stroke:#ddd8cd;stroke-width:1}.plain{fill:#5b8db8}.faint{fill:#b9cfe0}.wait{fill:#cfc8b8}.good{fill:#3d8c5c}.bad{fill:#c2453a}
.c0{--c:#17527a}.c1{--c:#b3541e}.c2{--c:#3d8c5c}.c3{--c:#8a4fa0}.c4{--c:#8a7a10}.c5{--c:#c2453a}.c6{--c:#4a4a4a}
.node{fill:#fff;stroke:#6b675f;stroke-width:1.5}.edge{stroke:#5b8db8;stroke-width:2}.edge.bad{stroke:#c2453a}
.line{fill:none;stroke:var(--c);stroke-width:2.2}.dot,.bar{fill:var(--c)}
@media (prefers-color-scheme:dark){.f{fill:#f1eee7}.s{fill:#a8a297}.l{stroke:#3a3732}.wait{fill:#4a463e}.node{fill:#211f1c;stroke:#a8a297}
.plain{fill:#7fb0d8}.faint{fill:#3d5468}.c0{--c:#7fbce6}.c1{--c:#eb9a63}.c2{--c:#7fd0a0}.c3{--c:#c79ad8}.c4{--c:#d8c860}.c5{--c:#f09084}.c6{--c:#bbb}}
"""


def _same(text: str) -> str:
    return text


def svg(figure: Figure, translate: Translate = _same) -> str:
    """The figure as a standalone SVG document."""
    if isinstance(figure, Timeline):
        body, height = _timeline(figure, translate)
    else:
        body, height = graph(figure, translate, WIDTH, _TOP) if isinstance(figure, Graph) else _plot(figure, translate)
    title = escape(translate(figure.title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f'<title>{title}</title><style>{_STYLE}</style><text class="f t" x="12" y="24">{title}</text>{body}</svg>\n'
    )


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers that span from ``low`` to ``high``."""
    if high <= low:
        high = low + 1
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= raw)
    first = math.ceil(low / step) * step
    return [first + step * number for number in range(int((high - first) / step + 1e-9) + 1)]


def amount(value: float) -> str:
    """A number beside its bar."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def bar_share(value: float, lowest: float, top: float, log: bool) -> float:
    """How much of the room a bar takes, from 0 to 1; on a logarithmic scale the lowest one is still to be seen."""
    if value <= 0:
        return 0.0
    if not log:
        return value / top
    floor = math.log10(lowest) - 0.5
    return (math.log10(value) - floor) / (math.log10(top) - floor)


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def _wide(text: str) -> float:
    """About how many pixels a text takes: Chinese signs are twice as wide."""
    return 6.8 * sum(2 if ord(each) > 0x2E80 else 1 for each in text)


def _margin(labels: Sequence[str]) -> float:
    """Room on the left for the longest of the labels."""
    return min(WIDTH / 2, max([float(_LEFT), *(_wide(label) + 16 for label in labels)]))


def _timeline(figure: Timeline, translate: Translate) -> tuple[str, int]:
    left = _margin([translate(name) for name in figure.lanes])
    row = 22 if len(figure.lanes) <= 24 else 12
    end = max((span.end_s for spans in figure.lanes.values() for span in spans), default=1.0) or 1.0
    bottom = _TOP + row * len(figure.lanes)
    height = bottom + _BOTTOM
    scale = (WIDTH - left - _RIGHT) / end
    keys = [("", mood, says) for mood, says in figure.legend.items()]
    # As far left as it must be to end within the picture.
    keys_x = max(12.0, min(left, WIDTH - sum(34 + _wide(translate(says)) for _, _, says in keys)))
    parts = [_keys(keys, translate, keys_x, height - 8)]
    for tick in nice_ticks(0, end):
        x = left + tick * scale
        parts.append(
            f'<line class="l" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>'
            f'<text class="f s" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{_duration(round(tick, 6))}</text>"
        )
    for number, (name, spans) in enumerate(figure.lanes.items()):
        y = _TOP + number * row
        parts.append(
            f'<text class="f s" x="{left - 8}" y="{y + row * 0.7:.1f}" text-anchor="end">'
            f"{escape(translate(name))}</text>"
        )
        parts += [_span(span, translate, left=left, y=y, row=row, scale=scale) for span in spans]
    return "".join(parts), height


def _span(span: Span, translate: Translate, *, left: float, y: float, row: int, scale: float) -> str:
    x, width = left + span.start_s * scale, max(1.5, (span.end_s - span.start_s) * scale)
    says = escape(translate(span.says))
    shown = (
        f'<text class="f s" style="fill:#fff" x="{x + 4:.1f}" y="{y + row * 0.68:.1f}">{says}</text>'
        if says and width > _wide(translate(span.says)) + 8 and row > 12
        else ""
    )
    tip = f"<title>{says} {_duration(round(span.start_s, 4))} – {_duration(round(span.end_s, 4))}</title>"
    return (
        f'<rect class="{span.mood}" x="{x:.1f}" y="{y + 2:.1f}" width="{width:.1f}" height="{row - 4}" rx="2">'
        f"{tip}</rect>{shown}"
    )


def _plot(figure: Plot, translate: Translate) -> tuple[str, int]:
    bars = any(isinstance(x, str) for points in figure.series.values() for x, _ in points)
    return _bars(figure, translate) if bars else _lines(figure, translate)


def _legend(names: Sequence[str], translate: Translate, y: float) -> str:
    return _keys([(f"c{number % 7}", "bar", name) for number, name in enumerate(names)], translate, _LEFT, y)


def _keys(keys: Sequence[tuple[str, str, str]], translate: Translate, x: float, y: float) -> str:
    """Patches of colour (the class of the group, that of the patch) and what each stands for, side by side."""
    parts = []
    for group, patch, name in keys:
        text = translate(name)
        parts.append(
            f'<g class="{group}"><rect class="{patch}" x="{x:.0f}" y="{y - 9}" width="12" height="10" rx="2"/>'
            f'<text class="f s" x="{x + 17:.0f}" y="{y}">{escape(text)}</text></g>'
        )
        x += 34 + _wide(text)
    return "".join(parts)


def _bars(figure: Plot, translate: Translate) -> tuple[str, int]:
    groups = list(dict.fromkeys(str(x) for points in figure.series.values() for x, _ in points))
    values: dict[str, Mapping[str, float]] = {
        name: {str(x): y for x, y in points} for name, points in figure.series.items()
    }
    left = _margin([translate(group) for group in groups])
    thick = 18
    band = thick * len(values) + 14
    height = _TOP + 22 + band * len(groups) + _BOTTOM
    top = max((y for points in values.values() for y in points.values()), default=1.0) or 1.0
    lowest = min((y for points in values.values() for y in points.values() if y > 0), default=1.0)
    room = WIDTH - left - _RIGHT - 70

    def length(value: float) -> float:
        return bar_share(value, lowest, top, figure.log) * room

    parts = [_legend(list(values), translate, _TOP + 6)] if len(values) > 1 else []
    for group_number, group in enumerate(groups):
        y = _TOP + 22 + group_number * band
        parts.append(
            f'<text class="f s" x="{left - 8}" y="{y + (band - 14) / 2 + 4:.1f}" text-anchor="end">'
            f"{escape(translate(group))}</text>"
        )
        for number, points in enumerate(values.values()):
            if group in points:
                wide = length(points[group])
                parts.append(
                    f'<g class="c{number % 7}"><rect class="bar" x="{left}" y="{y + number * thick + 1}" '
                    f'width="{max(wide, 1):.1f}" height="{thick - 3}" rx="2"/></g><text class="f s" '
                    f'x="{left + wide + 6:.1f}" y="{y + number * thick + 13}">{amount(points[group])}</text>'
                )
    label = translate(figure.y_label)
    parts.append(f'<text class="f s" x="{left}" y="{height - 16}">{escape(label)}</text>')
    return "".join(parts), height


def _lines(figure: Plot, translate: Translate) -> tuple[str, int]:
    height, bottom, top_y = 380, 380 - _BOTTOM - 12, _TOP + 26
    points = [(float(x), y) for line in figure.series.values() for x, y in line]
    if figure.log:
        points = [(x, y) for x, y in points if y > 0]
    xs, ys = [x for x, _ in points] or [0.0], [y for _, y in points] or [0.0]
    low, high = (min(ys), max(ys)) if figure.log else (min(0.0, *ys), max(ys))
    left, right = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left)
        if figure.log:
            span = math.log10(high / low) or 1.0
            up = math.log10(y / low) / span
        else:
            up = (y - low) / ((high - low) or 1.0)
        return 70 + across * (WIDTH - 70 - _RIGHT), bottom - up * (bottom - top_y)

    ticks = (
        [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) if low <= 10.0**n <= high]
        if figure.log
        else nice_ticks(low, high)
    )
    parts = [_legend(list(figure.series), translate, _TOP + 6)]
    for tick in ticks:
        _, y = at(left, tick)
        parts.append(
            f'<line class="l" x1="70" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="f s" x="62" y="{y + 4:.1f}" text-anchor="end">{tick:,.6g}</text>'
        )
    for tick in nice_ticks(left, right):
        x, _ = at(tick, low)
        parts.append(f'<text class="f s" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:,.6g}</text>')
    for number, line in enumerate(figure.series.values()):
        places = [at(float(x), y) for x, y in line if y > 0 or not figure.log]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places[:60])
        parts.append(f'<g class="c{number % 7}"><polyline class="line" points="{path}"/>{dots}</g>')
    parts.append(
        f'<text class="f s" x="{WIDTH / 2}" y="{height - 12}" text-anchor="middle">'
        f'{escape(translate(figure.x_label))}</text><text class="f s" x="70" y="{_TOP + 20 - 36 + 34}">'
        f"{escape(translate(figure.y_label))}</text>"
        if len(figure.series) <= 1
        else f'<text class="f s" x="{WIDTH / 2}" y="{height - 12}" text-anchor="middle">'
        f"{escape(translate(figure.x_label))} · {escape(translate(figure.y_label))}</text>"
    )
    return "".join(parts), height
