"""Reads the lab's TOML files and names what is wrong in them: the line, the field, and what is allowed.

msgspec checks the types; what it does not say is which names and choices exist.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

Struct = TypeVar("Struct", bound=msgspec.Struct)


def text_of(path: Path, error_type: type[Exception]) -> str:
    """The text of a file. Raises an ``error_type`` that names the file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise error_type(f"{path} cannot be read: {error}") from None


def toml_of(path: Path, text: str, error_type: type[Exception]) -> dict[str, Any]:
    """The tables in a file's text. Raises an ``error_type`` that names the file."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise error_type(f"{path} is no TOML: {error}") from None


def nearest(name: str, known: Iterable[str], quote: str = "") -> str:
    """`` (did you mean …?)`` where a known name is like this one; else nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {quote}{near[0]}{quote}?)" if near else ""


def struct_of(
    kind: type[Struct], path: Path, content: dict[str, Any], text: str, error_type: type[Exception]
) -> Struct:
    """The tables of a file as a struct. Raises an ``error_type`` that names the file, the field, what is allowed."""
    try:
        if problem := next(_problems(kind, content, (), text), None):
            raise error_type(f"{path}: {problem}")
        return msgspec.convert(content, type=kind)
    except msgspec.ValidationError as error:
        raise error_type(f"{path}: {_in_toml(str(error))}") from None


def _in_toml(message: str) -> str:
    """What msgspec says of a type, in the words of TOML, in which there is no null."""
    what, _, place = message.partition(" - at ")
    for name, word in ((" | null", ""), ("object", "table"), ("array", "list")):
        what = what.replace(name, word)
    return f"{what}, at {place.replace('`$.', '`')}"


def _problems(kind: type, table: dict[str, Any], place: tuple[str, ...], text: str) -> Iterator[str]:
    where = f"[{'.'.join(place)}]" if place else "the file"
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    known = [name for name in fields if place or name != "directory"]
    for name, value in table.items():
        if name not in fields:
            meant = nearest(name, known, "`")
            yield f"{_line_of(text, name)}{where} knows no `{name}`{meant}; it may have {', '.join(known)}"
            continue
        wanted = fields[name].type
        choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else ()
        if choices and value not in choices:
            yield f"{_line_of(text, name)}{where} has `{name}` {value!r}; it may be {', '.join(choices)}"
        inner = _struct_in(wanted)
        for each in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(each, dict):
                yield from _problems(inner, each, (*place, name), text)
        named = _struct_in(typing.get_args(wanted)[1]) if typing.get_origin(wanted) is dict else None
        if named is not None and isinstance(value, dict):
            for key, each in value.items():
                if isinstance(each, dict):
                    yield from _problems(named, each, (*place, name, key), text)
    for name, field in fields.items():
        if field.required and name not in table:
            yield f"{where} lacks `{name}`; it has to be there"


def _struct_in(kind: Any) -> type | None:
    """The struct that a field's type is, or holds in a union or a list."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) in {typing.Union, list}:
        return next((found for each in typing.get_args(kind) if (found := _struct_in(each))), None)
    return None


def _line_of(text: str, name: str) -> str:
    """``line 7: `` where only one line has the name as a field or a table; else nothing."""
    field = re.compile(rf"""(^|[\s{{,.\["'])({re.escape(name)})["']?\s*(=|\]|\.)""")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if field.search(line.partition("#")[0])]
    return f"line {lines[0]}: " if len(lines) == 1 else ""
