"""The time axis of a counterexample: to scale, but long stretches in which nothing relevant happened are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from loadtests.lab.report.svg.chart import round_step

_CUT_W = 46.0
_LEAST_SHARE = 0.24
_MARGIN = 0.14
_MOST_TICKS = 12


@dataclass(frozen=True)
class Stretch:
    """A piece of time that is drawn to scale from ``left`` to ``right``."""

    begin_ns: float
    end_ns: float
    left: float
    right: float

    def x(self, moment_ns: float) -> float:
        share = (moment_ns - self.begin_ns) / (self.end_ns - self.begin_ns)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)


@dataclass(frozen=True)
class TimeAxis:
    """Stretches from left to right, separated by cuts."""

    stretches: tuple[Stretch, ...]

    def x(self, moment_ns: float, *, ends: bool = False) -> float:
        """The place of a moment. In a cut it is the end of the cut, or the beginning if something ``ends`` there."""
        place = self.stretches[0].left
        for stretch in self.stretches:
            if ends and moment_ns <= stretch.begin_ns:
                return place
            if moment_ns <= stretch.end_ns:
                return stretch.x(moment_ns)
            place = stretch.right
        return place

    def ticks(self, zero_ns: int) -> list[tuple[float, float]]:
        """Round times after ``zero_ns``: pairs of nanoseconds and place, some in every stretch."""
        spans = [each.end_ns - each.begin_ns for each in self.stretches]
        step = round_step(max(min(spans) / 3, sum(spans) / _MOST_TICKS))
        found = []
        for stretch in self.stretches:
            first = math.ceil((stretch.begin_ns - zero_ns) / step)
            last = math.floor((stretch.end_ns - zero_ns) / step)
            found += [(at * step, stretch.x(zero_ns + at * step)) for at in range(first, last + 1)]
        return found


def time_axis(intervals: Iterable[tuple[int, int]], left: float, right: float) -> TimeAxis:
    """Lay out intervals between two places; a gap longer than all intervals together is cut to a fixed width."""
    busy = _joined(sorted(intervals))
    total = max(1, sum(end - begin for begin, end in busy))
    clusters = [list(busy[0])]
    for begin, end in busy[1:]:
        if begin - clusters[-1][1] > total:
            clusters.append([begin, end])
        else:
            clusters[-1][1] = end
    margin = max(1.0, _MARGIN * total / len(clusters))
    spans = [(begin - margin, end + margin) for begin, end in clusters]
    room = right - left - _CUT_W * (len(spans) - 1)
    widths = _shares([end - begin for begin, end in spans])
    stretches, at = [], float(left)
    for (begins, ends), share in zip(spans, widths, strict=True):
        stretches.append(Stretch(begins, ends, at, at + share * room))
        at += share * room + _CUT_W
    return TimeAxis(tuple(stretches))


def _joined(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals that touch are joined."""
    found: list[tuple[int, int]] = []
    for begin, end in intervals:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _shares(lengths: list[float]) -> list[float]:
    """Shares of the width, proportional to the lengths, but none too narrow to be seen."""
    raised = [max(length / sum(lengths), _LEAST_SHARE) for length in lengths]
    return [share / sum(raised) for share in raised]
