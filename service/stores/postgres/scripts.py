"""Statements as text, so that several of them go to the engine in one round trip: a script.

PostgreSQL's simple query takes a list of statements, stops at the first that fails, and answers each. Parameters are
written into such a text. A long statement is prepared once a session, under its name, and then a script only says
``EXECUTE``: it is parsed and planned once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import psycopg

_PLACE = re.compile(r"\$(\d+)")


class Prepared(NamedTuple):
    """A statement that is prepared under its name; its parameters are ``$1``, ``$2``, …"""

    name: str
    text: str

    def executed(self, parameters: Sequence[object]) -> str:
        """For a session in which it is prepared."""
        return f"EXECUTE {self.name}({','.join(map(literal, parameters))})"

    def written_out(self, parameters: Sequence[object]) -> str:
        """For a session in which nothing can be prepared: the parameters in their places."""
        return _PLACE.sub(lambda place: literal(parameters[int(place[1]) - 1]), self.text)


def literal(value: object) -> str:
    """A value as it stands in a statement: None, a number, a boolean, a text, an instant, or a list of such.

    Raises ``psycopg.DataError`` for a text that PostgreSQL cannot keep.
    """
    if value is None:
        return "NULL"
    if isinstance(value, int):  # also a boolean: True is written as PostgreSQL reads it
        return str(value)
    if isinstance(value, list):
        return _quoted(f"{{{','.join(map(_element, value))}}}")
    return _quoted(_text(value))


def _element(value: object) -> str:
    """A value within an array's text."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    text = _text(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        raise TypeError(f"PostgreSQL is not told a {type(value).__name__}")
    if "\0" in value:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value


def _quoted(text: str) -> str:
    """A literal that means the same under every setting of ``standard_conforming_strings``."""
    text = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{text}'"
