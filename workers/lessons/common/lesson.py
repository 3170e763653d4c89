"""A lesson, the findings of a run, and the run within a time limit."""

from __future__ import annotations

import functools
import re
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from workers.lessons.common.figures import Figure, Table, Value
from workers.lessons.common.translation import Translate, translator, unchanged

Progress = Callable[[str], None]
"""A running lesson calls this with a few words about its current step."""
_AGAIN_S = 0.01
"""How soon the time limit is raised again where it was dropped."""


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
    """Sentences about the tables and figures, with the numbers of this run; ``tell`` adds those of the lesson."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Everything that a sentence about this run may name: settings, ``measured`` and ``facts``; set by ``tell``."""
    command: str = ""
    """What one types for a run with the same settings; set by ``tell``."""


@dataclass(frozen=True, slots=True)
class ClassQuestion:
    """A question for the class, and its answer with the reason. Both may name numbers of a run, as observations do."""

    ask: str
    answer: str


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
    code: Sequence[str] = ()
    """The code that matters, as ``lessons/mutex/sale.py buy``: a file below ``workers``, and a name in it."""
    questions: Sequence[ClassQuestion] = ()
    chinese: Callable[[], Mapping[str, str]] = dict
    """The Simplified Chinese of all texts in tables and figures (see ``translation``); read only when it is needed."""
    chinese_words: Callable[[], Mapping[str, Any]] = dict
    """The fields of this class that hold sentences, in Simplified Chinese; read only when they are needed."""
    story: Callable[[str], str] = lambda _language: ""
    """The Markdown of its page in ``docs/lessons``, in a language; read only when it is needed."""
    language: str = "en"
    """The language of the sentences: ``en``, or ``zh`` after ``told_in``."""

    @property
    def translate(self) -> Translate:
        """Translates texts of tables and figures into the lesson's language."""
        return translator(self.chinese()) if self.language == "zh" else unchanged

    def told_in(self, language: str) -> Lesson:
        """The same lesson with its sentences in ``en`` or ``zh``. Call it on a lesson as it was loaded."""
        return self if language == "en" else replace(self, language=language, **self.chinese_words())

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
    name = folder.name.replace("_", "-")
    words = _with_questions(texts(folder / "lesson.toml"))
    parameters = tuple(Parameter(name, **each) for name, each in words.pop("parameters").items())
    chinese = functools.cache(lambda: texts(folder / "zh.toml"))
    return Lesson(
        name,
        run=module.run,
        parameters=parameters,
        chinese=lambda: {text: said for text, said in chinese().items() if text != "lesson"},
        story=lambda language: (folder.parent / "stories" / language / f"{name}.md").read_text(encoding="utf-8"),
        chinese_words=lambda: _with_questions(chinese()["lesson"]),
        **words,
    )


def texts(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _with_questions(words: Mapping[str, Any]) -> dict[str, Any]:
    return {**words, "questions": [ClassQuestion(**each) for each in words.get("questions", ())]}


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
    return tell(lesson, settings, findings)


def tell(lesson: Lesson, settings: Mapping[str, Any], findings: LessonResult) -> LessonResult:
    """The findings of ``lesson.run`` with its observations, in the language of the lesson."""
    words = {name: lesson.translate(each) if isinstance(each, str) else each for name, each in findings.facts.items()}
    numbers = {**settings, **findings.measured, **words}
    sentences = [sentence.format_map(numbers) for sentence in lesson.observations]
    return replace(
        findings, observations=[*findings.observations, *sentences], numbers=numbers, command=_command(lesson, settings)
    )


def _command(lesson: Lesson, settings: Mapping[str, Any]) -> str:
    changed = [each.name for each in lesson.parameters if settings[each.name] != each.default]
    return " ".join(
        [f"lastseat lesson {lesson.name}", *(f"--{name.replace('_', '-')} {settings[name]}" for name in changed)]
    )


@contextmanager
def _limited(lesson: Lesson) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimit(f"lesson {lesson.name} was ended after {lesson.limit_s:g} s; nothing of it is left running.")

    def stop_again(lost: sys.UnraisableHookArgs) -> None:
        # The interpreter drops an exception that is raised in a finalizer or in a callback of its garbage collector.
        if issubclass(lost.exc_type, TimeLimit):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            hook_before(lost)

    hook_before, sys.unraisablehook = sys.unraisablehook, stop_again
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, lesson.limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook_before


def key(*words: str) -> str:
    """A name for ``measured``: ``greenlets, patched`` becomes ``greenlets_patched``."""
    return re.sub(r"[ .]+", "_", re.sub(r"[,()-]", "", " ".join(words).replace(" × ", " x ")))


def keyed(prefix: str, **values: Any) -> dict[str, Any]:
    """Entries for ``measured``: each value under the prefix and its own name."""
    return {f"{key(prefix)}_{name}": value for name, value in values.items()}
