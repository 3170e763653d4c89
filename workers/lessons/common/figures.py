"""The tables and figures of lessons. ``svg``, ``pages`` and ``terminal`` draw and print them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Table:
    """Measured rows. The first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]

    @property
    def numeric(self) -> list[bool]:
        """For each column: True if it holds only numbers."""
        return [all(isinstance(row[n], int | float) for row in self.rows) for n in range(len(self.columns))]


@dataclass(frozen=True, slots=True)
class Span:
    """One bar of a timeline, in seconds from the timeline's beginning. ``style``: plain, faint, wait, good or bad."""

    start_s: float
    end_s: float
    label: str = ""
    style: str = "plain"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One lane of spans for each thread, process or task."""

    title: str
    lanes: Mapping[str, Sequence[Span]]
    legend: Mapping[str, str] = field(default_factory=dict)
    """The meaning of each style, in the order in which the legend shows them."""

    @property
    def end_s(self) -> float:
        return max((span.end_s for spans in self.lanes.values() for span in spans), default=1.0) or 1.0


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars in groups: each series has at most one bar in each group."""

    title: str
    value_label: str
    series: Mapping[str, Sequence[tuple[str, float]]]
    log: bool = False

    def share(self, value: float) -> float:
        """The length of a bar, from 0 to 1. On a logarithmic scale the shortest bar stays visible."""
        values = [each for bars in self.series.values() for _, each in bars]
        highest = max(values, default=1.0) or 1.0
        lowest = min((each for each in values if each > 0), default=1.0)
        if value <= 0:
            return 0.0
        if not self.log:
            return value / highest
        floor = math.log10(lowest) - 0.5
        return (math.log10(value) - floor) / (math.log10(highest) - floor)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A labelled arrow between two nodes. The style ``bad`` marks what is wrong."""

    start: str
    end: str
    label: str = ""
    style: str = "plain"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes on an ellipse and arrows between them. The nodes in ``boxes`` have corners, the others are round."""

    title: str
    nodes: Sequence[str]
    arrows: Sequence[Arrow]
    boxes: frozenset[str] = frozenset()


Figure = Timeline | BarChart | Graph


def as_text(value: object) -> str:
    """A value of a table as readers see it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def bar_text(value: float) -> str:
    """The number beside a bar."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
