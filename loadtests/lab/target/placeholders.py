"""Placeholders: in a target file ``{name}`` stands for a value, and ``{{name}}`` writes ``{name}``.

No other brace means anything, so that GraphQL and JSON can be written as they are. Whatever is put into a text is
encoded for the place where it stands; a value can therefore never change what the text around it means.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

_NAME = r"[a-z][a-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?"
_PLACEHOLDER = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What ``take`` may call a value."""

ENVIRONMENT, SESSION = "env.", "session."
AS_WRITTEN = "_AS_WRITTEN"
"""So ends the name of a variable whose value was cut out of a text: it goes back as it stood there, not encoded."""
AS_NUMBER = "_AS_NUMBER"
"""So ends the name of a variable that stands for a number."""

Values = Mapping[str, Any]
"""What placeholders stand for: JSON values by name."""

Encode = Callable[[str], str]


def names_in(value: object) -> set[str]:
    """The placeholders in all texts of a value: a text, or tables and lists of texts."""
    return {found[2] for text in texts_in(value) for found in _PLACEHOLDER.finditer(text) if found[2]}


def texts_in(value: object) -> Iterator[str]:
    """Every text in a value, the names in tables too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from texts_in(name)
            yield from texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts_in(each)


def fill_text(text: str, values: Values, encode: Encode = str) -> str:
    """The text with its placeholders filled in. Raises ``KeyError`` for a value that there is not."""

    def filled(found: re.Match[str]) -> str:
        if found[1]:
            return f"{{{found[1]}}}"
        value = as_text(values[found[2]])
        return value if found[2].endswith(AS_WRITTEN) else encode(value)

    return _PLACEHOLDER.sub(filled, text)


def fill_all(value: Any, values: Values, encode: Encode = str) -> Any:
    """As ``fill_text`` for every text of a value. A text that is one placeholder and no more becomes its value."""
    match value:
        case str():
            alone = _PLACEHOLDER.fullmatch(value)
            return values[alone[2]] if alone and alone[2] else fill_text(value, values, encode)
        case dict():
            return {fill_text(name, values): fill_all(each, values, encode) for name, each in value.items()}
        case list():
            return [fill_all(each, values, encode) for each in value]
    return value


def literals(text: str) -> list[tuple[str, bool]]:
    """A text cut into its pieces, each with whether it is a placeholder; ``{{name}}`` belongs to the text around it."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        if found[2]:
            pieces += [(text[at : found.start()], False), (found[0], True)]
            at = found.end()
    return [piece for piece in [*pieces, (text[at:], False)] if piece[0]]


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The values of ``{env.NAME}``: what a file does not say itself, passwords for example."""
    return {
        ENVIRONMENT + name: _number(value) if name.endswith(AS_NUMBER) else value for name, value in variables.items()
    }


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_text(value: object) -> str:
    """A value where a text is wanted: texts as they are, anything else as JSON writes it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def in_json(text: str) -> str:
    """A text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
