"""The file of a target, read and checked. What it may say is in ``tables``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from loadtests.lab.target.problems import problems
from loadtests.lab.target.tables import Target
from loadtests.lab.target.validation import struct_of, text_of, toml_of


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
    target = struct_of(Target, path, content | {"directory": str(path.resolve().parent)}, text, TargetError)
    refuse_problems(target, path)
    return target


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
