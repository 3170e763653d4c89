"""The one form of all lessons, and of what they find."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something to turn: a number between two bounds, or one of some words."""

    name: str
    default: int | float | str
    says: str
    low: float = 1
    high: float = 1000
    choices: tuple[str, ...] = ()

    def check(self, value: Value) -> int | float | str:
        """The value as it will be used. Raises ``ValueError`` in words where it cannot be."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}.")
            return str(value)
        kind = int if isinstance(self.default, int) else float
        wanted = f"{self.name} must be a {'whole ' if kind is int else ''}number from {self.low:g} to {self.high:g}"
        if isinstance(value, bool) or value is None:
            raise ValueError(f"{wanted}, not {value!r}.")
        try:
            number = kind(value)
        except (ValueError, OverflowError):
            raise ValueError(f"{wanted}, not {value!r}.") from None
        if not self.low <= number <= self.high:
            raise ValueError(f"{wanted}, not {value}.")
        return number


@dataclass(frozen=True, slots=True)
class Table:
    """Measured rows. The first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasted, in seconds from the beginning of its timeline. ``mood``: plain, faint, wait, good, bad."""

    start_s: float
    end_s: float
    says: str = ""
    mood: str = "plain"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Who did what when: one lane for each."""

    title: str
    lanes: Mapping[str, Sequence[Span]]
    legend: Mapping[str, str] = field(default_factory=dict)
    """What the moods stand for, in the order in which to say it."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over numbers (``xs`` numeric) or bars over names; one series by name each."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float | str, float]]]
    log: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one node to another, with a word on it; in a ``bad`` mood it is part of what is wrong."""

    start: str
    end: str
    says: str = ""
    mood: str = "plain"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes on a circle and arrows between them. Those named in ``boxes`` are drawn as boxes, the others round."""

    title: str
    nodes: Sequence[str]
    arrows: Sequence[Arrow]
    boxes: frozenset[str] = frozenset()


Figure = Timeline | Plot | Graph


@dataclass(slots=True)
class Findings:
    """What a run found. ``measured`` is for scripts: plain numbers and words under stable names."""

    holds: bool
    measured: dict[str, Any]
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    see: Sequence[str] = ()
    """What to see in the tables and figures, a sentence each, with this run's own numbers."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A claim, and how it is tried."""

    name: str
    title: str
    claim: str
    wrong: str
    """The wrong way, in a sentence."""
    right: str
    """The right way, in a sentence."""
    service: str
    """Where you meet this in the service: the place and what would happen there."""
    run: Callable[[Mapping[str, Any], Progress], Findings]
    parameters: tuple[Parameter, ...] = ()
    limit_s: float = 60.0
    """After so long the lesson is ended, whatever it does."""
    chinese: Mapping[str, str] = field(default_factory=dict)
    """Titles, columns, row names and labels of tables and figures in Simplified Chinese."""

    def settings(self, given: Mapping[str, Value] | None = None) -> dict[str, Any]:
        """All parameters, given or default. Raises ``ValueError`` for one that is unknown or out of bounds."""
        given = given or {}
        known = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise ValueError(f"lesson {self.name} has no parameter {name!r}; it has: {', '.join(sorted(known))}.")
        return {each.name: each.check(given.get(each.name, each.default)) for each in self.parameters}


Progress = Callable[[str], None]
"""Told, in a few words, what a running lesson does now."""


class TimeLimit(Exception):
    """The lesson did not end in its time; everything that it started has been ended."""


def carry_out(
    lesson: Lesson, given: Mapping[str, Value] | None = None, progress: Progress = lambda _: None
) -> Findings:
    """Run a lesson within its time. Errors: ``ValueError`` (parameters), ``TimeLimit``.

    The limit is an alarm signal, so it also ends a lesson that hangs; from another than the main thread there is none.
    """
    settings = lesson.settings(given)
    with _limited(lesson):
        return lesson.run(settings, progress)


@contextmanager
def _limited(lesson: Lesson) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimit(f"lesson {lesson.name} was ended after {lesson.limit_s:g} s; nothing of it is left running.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, lesson.limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
