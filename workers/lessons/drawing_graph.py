"""A graph as SVG: nodes on an ellipse, arrows between them, a word beside each arrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from html import escape

from workers.lessons.form import Arrow, Graph

Place = tuple[float, float]

_HALF_WIDTH, _HALF_HEIGHT = 50.0, 17.0
# What stays free between an arrow's end and its node's rim.
_GAP = 3.0


def graph(figure: Graph, translate: Callable[[str], str], width: float, top: float) -> tuple[str, int]:
    """The inside of an SVG document, and its height."""
    crowd = max(0, len(figure.nodes) - 4)
    across, down = min(width / 2 - 100, 230.0 + 10 * crowd), 105.0 + 22 * crowd
    middle, centre_y = width / 2, top + 30 + down
    places = {}
    for number, name in enumerate(figure.nodes):
        angle = 2 * math.pi * number / max(1, len(figure.nodes)) - math.pi / 2
        places[name] = (middle + across * math.cos(angle), centre_y + down * math.sin(angle))
    heads = "".join(
        f'<marker id="head-{mood}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" '
        f'orient="auto"><path class="{mood}" d="M0 0 10 5 0 10z"/></marker>'
        for mood in ("plain", "bad")
    )
    arrows = "".join(_arrow(arrow, places, (middle, centre_y), translate(arrow.says)) for arrow in figure.arrows)
    nodes = "".join(
        _node(translate(name), *place, round_by=4.0 if name in figure.boxes else _HALF_HEIGHT)
        for name, place in places.items()
    )
    return f"<defs>{heads}</defs>{arrows}{nodes}", round(centre_y + down + 34)


def _node(name: str, x: float, y: float, *, round_by: float) -> str:
    return (
        f'<rect class="node" x="{x - _HALF_WIDTH:.1f}" y="{y - _HALF_HEIGHT:.1f}" width="{2 * _HALF_WIDTH:g}" '
        f'height="{2 * _HALF_HEIGHT:g}" rx="{round_by:g}"/>'
        f'<text class="f" x="{x:.1f}" y="{y + 5:.1f}" text-anchor="middle">{escape(name)}</text>'
    )


def _arrow(arrow: Arrow, places: Mapping[str, Place], centre: Place, says: str) -> str:
    start, end = places[arrow.start], places[arrow.end]
    (x1, y1), (x2, y2) = _towards(start, end), _towards(end, start)
    mood = "bad" if arrow.mood == "bad" else "plain"
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    # The word stands on the outer side, seen from the middle.
    right, below = x > centre[0], y > centre[1]
    x, y, anchor = x + (8 if right else -8), y + (16 if below else -6), "start" if right else "end"
    return (
        f'<line class="edge {mood}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'marker-end="url(#head-{mood})"/>'
        f'<text class="f s" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(says)}</text>'
    )


def _towards(start: Place, end: Place) -> Place:
    """Where the line from a node to another one leaves the first."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = min(
        (_HALF_WIDTH + _GAP) / abs(dx) if dx else 1.0,
        (_HALF_HEIGHT + _GAP) / abs(dy) if dy else 1.0,
        0.45,
    )
    return start[0] + dx * share, start[1] + dy * share
