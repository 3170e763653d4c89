"""A lesson, the findings of a run, and the run within a time limit."""

from __future__ import annotations

import functools
import re
import signal
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from workers.lessons.common.figures import Figure, Table, Value

Progress = Callable[[str], None]
"""A running lesson calls this with a few words about its current step."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option of a lesson: a number between two bounds, or one of several words."""

    name: str
    default: int | float | str
    help: str
    low: float = 1
    high: float = 1000
    choices: Sequence[str] = ()

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return ", ".join(self.choices) or f"{self.low:g} to {self.high:g}"

    def check(self, value: Value) -> int | float | str:
        """The value in the parameter's type. Raises ``ValueError`` if it is not allowed; the message says what is."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} must be one of {self.allowed}, not {value!r}.")
            return str(value)
        kind = int if isinstance(self.default, int) else float
        wanted = f"{self.name} must be a {'whole ' if kind is int else ''}number from {self.allowed}"
        try:
            number = kind(value) if value is not None and not isinstance(value, bool) else float("nan")
        except (ValueError, OverflowError):
            number = float("nan")
        if not self.low <= number <= self.high:
            raise ValueError(f"{wanted}, not {value!r}.")
        return number


@dataclass(slots=True)
class LessonResult:
    """The outcome of a run. ``measured`` is for scripts: plain numbers and words under stable names."""

    holds: bool
    measured: dict[str, Any]
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Numbers and words that the lesson's observations name besides the settings and ``measured``."""
    observations: Sequence[str] = ()
    """Sentences about the tables and figures, with the numbers of this run; ``run_lesson`` adds those of the lesson."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A claim about concurrency, and the experiment that tests it."""

    name: str
    title: str
    claim: str
    wrong: str
    """The wrong way, in a sentence."""
    right: str
    """The right way, in a sentence."""
    service: str
    """Where the service meets the same question: the place, and what would happen there."""
    run: Callable[[Mapping[str, Any], Progress], LessonResult]
    observations: Sequence[str] = ()
    """Sentences about a run. ``{name}`` is a setting, or stands in the result's ``measured`` or ``facts``."""
    parameters: tuple[Parameter, ...] = ()
    limit_s: float = 60.0
    """The lesson is ended after this time."""
    chinese: Callable[[], Mapping[str, str]] = dict
    """The Simplified Chinese of all texts in tables and figures (see ``translation``); read only when it is needed."""

    def settings(self, given: Mapping[str, Value] | None = None) -> dict[str, Any]:
        """The values of all parameters. Raises ``ValueError`` if a name is unknown or a value is not allowed."""
        given = given or {}
        known = {parameter.name for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise ValueError(f"lesson {self.name} has no parameter {name!r}; it has: {', '.join(sorted(known))}.")
        return {each.name: each.check(given.get(each.name, each.default)) for each in self.parameters}


def lesson_of(module: ModuleType) -> Lesson:
    """The lesson of a module: its ``run``, the words and parameters in ``lesson.toml``, the Chinese in ``zh.toml``."""
    folder = Path(str(module.__file__)).parent
    words = _texts(folder / "lesson.toml")
    parameters = tuple(Parameter(name, **each) for name, each in words.pop("parameters").items())
    chinese = functools.cache(lambda: _texts(folder / "zh.toml"))
    return Lesson(folder.name.replace("_", "-"), run=module.run, parameters=parameters, chinese=chinese, **words)


def _texts(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


class TimeLimit(Exception):
    """The lesson did not end within its time limit. Everything that it started has been ended."""


def run_lesson(
    lesson: Lesson, given: Mapping[str, Value] | None = None, progress: Progress = lambda _: None
) -> LessonResult:
    """Run a lesson within its time limit. Errors: ``ValueError`` (parameters), ``TimeLimit``.

    An alarm signal enforces the limit, so it also ends a lesson that hangs. Only the main thread can call this.
    """
    settings = lesson.settings(given)
    with _limited(lesson):
        findings = lesson.run(settings, progress)
    numbers = {**settings, **findings.measured, **findings.facts}
    sentences = [sentence.format_map(numbers) for sentence in lesson.observations]
    findings.observations = [*findings.observations, *sentences]
    return findings


@contextmanager
def _limited(lesson: Lesson) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimit(f"lesson {lesson.name} was ended after {lesson.limit_s:g} s; nothing of it is left running.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, lesson.limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def key(*words: str) -> str:
    """A name for ``measured``: ``greenlets, patched`` becomes ``greenlets_patched``."""
    return re.sub(r"[ .]+", "_", re.sub(r"[,()-]", "", " ".join(words).replace(" × ", " x ")))


def keyed(prefix: str, **values: Any) -> dict[str, Any]:
    """Entries for ``measured``: each value under the prefix and its own name."""
    return {f"{key(prefix)}_{name}": value for name, value in values.items()}
