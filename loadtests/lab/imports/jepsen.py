"""Rows of a Jepsen history, ``history.edn`` or the same as JSON Lines: an invocation and its completion are one row.

A row has ``f``, ``process``, ``type`` (that of the completion: ok, fail or info), ``error``, ``start`` and ``end``
(nanoseconds), ``value`` (what the completion says, else the invocation) and ``asked`` (what the invocation says);
fields within them as ``value.quantity``. An invocation without a completion has the type ``info`` and no end.

EDN: https://github.com/edn-format/edn
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtests.lab.imports.csv_rows import open_text
from loadtests.lab.imports.errors import ImportFailed

_TOKEN = re.compile(
    r"""[\s,]*+(?:;[^\n]*+[\s,]*+)*+(?P<token>"(?:\\.|[^"\\])*"|\#\{|\#_|\#[\w.*+!?/-]+|[\[\](){}]|\\[^\s,]+|[^\s,\[\](){}";]+)"""
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS = {"nil": None, "true": True, "false": False}


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The operations of clients with the line of their invocation. Errors: ``ImportFailed``."""
    open_calls: dict[Any, tuple[int, dict[str, Any]]] = {}
    for line, event in _events(path):
        process, kind = event.get("process"), event.get("type")
        if not isinstance(process, int):
            continue  # the nemesis
        if kind == "invoke":
            if process in open_calls:
                raise ImportFailed(f"{path.name}, line {line}: process {process} is still in another operation")
            open_calls[process] = line, event
        elif process in open_calls:
            began, invoked = open_calls.pop(process)
            yield began, _row(invoked, event)
        else:
            raise ImportFailed(f"{path.name}, line {line}: process {process} completes what it never invoked")
    for began, invoked in open_calls.values():
        yield began, _row(invoked, {"type": "info"})


def _row(invoked: dict[str, Any], completed: dict[str, Any]) -> dict[str, Any]:
    said = completed.get("value")
    whole = {
        "f": invoked.get("f"), "process": invoked["process"], "type": completed.get("type"),
        "error": completed.get("error"), "start": invoked.get("time"), "end": completed.get("time"),
        "value": invoked.get("value") if said is None else said, "asked": invoked.get("value"),
    }  # fmt: skip
    return dict(_flat("", whole))


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), each)
        return
    if value is not None:
        yield name, value
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _flat(f"{name}.{number}", each)


def _events(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as text:
        content = text.read()
    if '"type"' in content.partition("\n")[0]:
        for line, each in enumerate(content.splitlines(), 1):
            if each.strip():
                try:
                    yield line, dict(json.loads(each))
                except (ValueError, TypeError) as error:
                    raise ImportFailed(f"{path.name}, line {line}: it is no JSON object: {error}") from None
        return
    for line, value in _Edn(content, path.name).values():
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                raise ImportFailed(
                    f"{path.name}, line {line}: it is no operation, which is a map like {{:type :invoke …}}"
                )
            yield line, each


class _Edn:
    """A text in EDN. Keywords and symbols become strings without the colon, sets and lists become lists."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0

    def values(self) -> Iterator[tuple[int, Any]]:
        line, counted = 1, 0
        while (token := self._next()) is not None:
            line += self._text.count("\n", counted, self._at)
            counted = self._at
            if token == "#_":
                self._value(self._needed())
            else:
                yield line, self._value(token)

    def _next(self) -> str | None:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            if re.sub(r";[^\n]*", "", self._text[self._at :]).strip(" \t\r\n,"):
                raise self._wrong("it is no EDN")
            return None
        self._at = found.end()
        return found["token"]

    def _needed(self) -> str:
        token = self._next()
        if token is None:
            raise self._wrong("it breaks off in the middle")
        return token

    def _wrong(self, what: str) -> ImportFailed:
        return ImportFailed(f"{self._name}, line {self._text.count(chr(10), 0, self._at) + 1}: {what}")

    def _value(self, token: str) -> Any:
        if token in _CLOSING:
            return self._collection(token)
        if token[0] == "#":
            return self._value(self._needed())  # a tagged value, as #jepsen.history.Op{…}
        return self._scalar(token)

    def _scalar(self, token: str) -> Any:
        if token[0] == '"':
            return self._string(token)
        if token in _WORDS:
            return _WORDS[token]
        for kind, suffix in ((int, "N"), (float, "M")):
            with contextlib.suppress(ValueError):
                return kind(token.removesuffix(suffix))
        return token.lstrip(":\\")

    def _string(self, token: str) -> str:
        try:
            return str(json.loads(token, strict=False))
        except ValueError:
            raise self._wrong(f"{token} is no text") from None

    def _collection(self, opening: str) -> Any:
        closing, found = _CLOSING[opening], []
        while (token := self._needed()) != closing:
            if token == "#_":
                self._value(self._needed())
            elif token in "])}":
                raise self._wrong(f"{token} closes what {opening} opened")
            else:
                found.append(self._value(token))
        if opening != "{":
            return found
        if len(found) % 2:
            raise self._wrong("a map has a key without a value")
        return {str(key): value for key, value in zip(found[::2], found[1::2], strict=True)}
