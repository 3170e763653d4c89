"""The code of a lesson, read from the files that ran."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORKERS = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A function, a class or a constant: the file, the number of its first line there, and its lines."""

    path: str
    line: int
    text: str


def excerpt(place: str) -> Excerpt:
    """The code that ``lessons/mutex/sale.py buy`` or ``… Class.method`` names; the file is one below ``workers``.

    Raises ``LookupError`` if the file has no such name at its top.
    """
    file, _, name = place.partition(" ")
    text = (_WORKERS / file).read_text(encoding="utf-8")
    found: Any = ast.parse(text)
    for part in name.split("."):
        found = next((each for each in getattr(found, "body", ()) if part in _names(each)), None)
    if found is None:
        raise LookupError(f"workers/{file} has no {name}")
    first = min([found.lineno, *(each.lineno for each in getattr(found, "decorator_list", ()))])
    lines = text.splitlines()[first - 1 : found.end_lineno]
    return Excerpt(f"workers/{file}", first, textwrap.dedent("\n".join(lines)))


def program(name: str, places: Iterable[str]) -> Mapping[str, str]:
    """All files of a lesson's folder, and the other files of the places: path → text."""
    own = sorted((_WORKERS / "lessons" / name.replace("-", "_")).glob("*.py"))
    others = [_WORKERS / place.partition(" ")[0] for place in places]
    texts = {path: path.read_text(encoding="utf-8") for path in (*own, *others)}
    return {f"workers/{path.relative_to(_WORKERS).as_posix()}": text for path, text in texts.items() if text}


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
