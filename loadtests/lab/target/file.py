"""The file of a target, read and checked. What it may say is in ``tables``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from loadtests.lab.target.problems import problems
from loadtests.lab.target.tables import Target
from loadtests.lab.target.validation import shape_problem, text_of, toml_of


class TargetError(Exception):
    """A wrong target file; the message names the file, the field and what is allowed."""


def read_target(path: Path) -> Target:
    """Read a target file (TOML), or the target in an ``experiment.json``. Raises ``TargetError``."""
    text = text_of(path, TargetError)
    if path.suffix == ".json":
        return _from_experiment(path, text)
    content = toml_of(path, text, TargetError)
    if "directory" in content:
        raise TargetError(f"{path}: `directory` is not for this file; the command runs where the file lies")
    problem = shape_problem(Target, content, text)
    if problem:
        raise TargetError(f"{path}: {problem}")
    try:
        target = msgspec.convert(content | {"directory": str(path.resolve().parent)}, type=Target)
    except msgspec.ValidationError as error:
        raise TargetError(f"{path}: {_in_toml(str(error))}") from None
    refuse_problems(target, path)
    return target


def _in_toml(message: str) -> str:
    """What msgspec says of a type, in the words of TOML, in which there is no null."""
    what, _, place = message.partition(" - at ")
    for name, word in ((" | null", ""), ("object", "table"), ("array", "list")):
        what = what.replace(name, word)
    return f"{what}, at {place.replace('`$.', '`')}"


def refuse_problems(target: Target, path: Path) -> None:
    """Raise ``TargetError`` for the first thing that cannot be meant."""
    problem = next(problems(target), None)
    if problem:
        raise TargetError(f"{path}: {problem}")


def _from_experiment(path: Path, text: str) -> Target:
    try:
        target = msgspec.convert(msgspec.json.decode(text)["target"], type=Target)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise TargetError(f"{path} holds no target: {error}") from None
    refuse_problems(target, path)
    return target
