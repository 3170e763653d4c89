"""Passwords and tokens of a target file: found by the names beside which they stand, and kept out of what is written.

In a record each becomes ``{env.NAME}``, a placeholder for an environment variable: so the record can be run again by
whoever sets that. In messages they become ``***``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec

from loadtests.lab.target.placeholders import (
    AS_NUMBER,
    AS_WRITTEN,
    ENVIRONMENT,
    environment,
    fill_text,
    in_json,
    literals,
    names_in,
    texts_in,
)
from loadtests.lab.target.tables import Target

MASK = "***"
_WORDS = "authorization|cookie|password|passwd|passphrase|pwd|secret|token|credential|(?:api|access|private)[-_]?key"
SECRET_NAME = re.compile(rf"{_WORDS}|(?<!idempotency)[-_]key$", re.IGNORECASE)
_SCHEME = re.compile(r"^(?:Bearer|Basic|Token|ApiKey|Digest)\s+", re.IGNORECASE)
_IN_TEXT = re.compile(
    rf"""(?P<before>[\w-]*(?:{_WORDS})[\w-]*["']?\s*[:=]\s*["']?)(?P<secret>[^\s"'&,;{{}}()]+)""", re.IGNORECASE
)
_IN_ADDRESS = re.compile(r"(?P<before>://[^\s/:@{}]*:)(?P<secret>[^\s/@{}]+)(?=@)")
_FLAG = re.compile(rf"--?[\w-]*(?:{_WORDS})[\w-]*", re.IGNORECASE)
_SHORTEST = 4
"""A secret of fewer letters is in every other word; it is kept out of records, and not looked for in messages."""

_TOLD = {"path", "headers", "body", "form", "command", "env"}
"""What is told to a service or a program. The rest says where something stands in an answer: there no secret is."""


def without_secrets(target: Target) -> tuple[Target, dict[str, str]]:
    """The target as a record may show it, and what its new ``{env.NAME}`` stand for."""
    secrets: dict[str, str] = {}
    masked = _without(msgspec.to_builtins(target), ("target",), secrets)
    return msgspec.convert(masked, type=Target), secrets


def opened(target: Target) -> tuple[Target, dict[str, Any]]:
    """The target without its secrets, so that no message can show one, and the values with which it is filled in."""
    masked, secrets = without_secrets(target)
    return masked, environment() | environment(secrets)


def secrets_of(target: Target) -> set[str]:
    """All texts that no message may show: what the file says, and what the environment says for it."""
    masked, secrets = without_secrets(target)
    named = (name.removeprefix(ENVIRONMENT) for name in names_in(list(texts_in(msgspec.to_builtins(masked)))))
    return {*secrets.values(), *(os.environ[name] for name in named if name in os.environ)}


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets in it, also as they are encoded in an address or in JSON."""
    known = [each for each in secrets if len(each) >= _SHORTEST]
    written = {form(each) for each in known for form in (str, quote_plus, partial(quote, safe=""), in_json)}
    for secret in sorted(written, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def hide_named(text: str) -> str:
    """The text without what stands in it under a name that is most likely a secret's: an answer with a token."""
    return _IN_TEXT.sub(lambda found: found["before"] + MASK, text)


def is_secret_name(name: str) -> bool:
    """Whether what stands under a name is most likely a secret."""
    return bool(SECRET_NAME.search(name))


def _without(table: Any, place: tuple[str, ...], secrets: dict[str, str]) -> Any:
    """A table of the file, or a list of tables, without the secrets in what it tells."""
    if isinstance(table, list):
        return [_without(each, (*place, str(at)), secrets) for at, each in enumerate(table, 1)]
    if not isinstance(table, dict):
        return table
    return {
        name: _masked(each, (*place, name), secrets) if name in _TOLD else _without(each, (*place, name), secrets)
        for name, each in table.items()
    }


def _masked(value: Any, place: tuple[str, ...], secrets: dict[str, str], *, is_secret: bool = False) -> Any:
    """What is told, without secrets: all that stands under a name that says so, and ``name=`` and the like in texts."""
    match value:
        case dict():
            return {
                name: _masked(each, (*place, name), secrets, is_secret=is_secret or is_secret_name(name))
                for name, each in value.items()
            }
        case list():
            flags = [False, *(isinstance(each, str) and bool(_FLAG.fullmatch(each)) for each in value)]
            return [
                _masked(each, (*place, str(at)), secrets, is_secret=is_secret or follows_flag)
                for at, (each, follows_flag) in enumerate(zip(value, flags, strict=False), 1)
            ]
        case str():
            return _whole_masked(value, place, secrets) if is_secret else _parts_masked(value, place, secrets)
        case int() | float() if is_secret and not isinstance(value, bool):
            return _variable(str(value), place, secrets, AS_NUMBER)
    return value


def _whole_masked(text: str, place: tuple[str, ...], secrets: dict[str, str]) -> str:
    """Replace the whole text, except its placeholders and a scheme at its beginning like ``Bearer``."""
    scheme = _SCHEME.match(text)
    front = scheme[0] if scheme else ""
    pieces = literals(text[len(front) :])
    return front + "".join(
        piece if is_placeholder or not piece.strip() else _variable(piece, place, secrets)
        for piece, is_placeholder in pieces
    )


def _parts_masked(text: str, place: tuple[str, ...], secrets: dict[str, str]) -> str:
    """Replace what stands in a text behind a name like ``password=``, or as the password of an address."""
    for pattern in (_IN_ADDRESS, _IN_TEXT):
        text = pattern.sub(lambda found: found["before"] + _variable(found["secret"], place, secrets), text)
    return text


def _variable(secret: str, place: tuple[str, ...], secrets: dict[str, str], ending: str = "") -> str:
    secret = fill_text(secret, {})  # what it says, not how the file writes its braces
    base = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(place)).upper().strip("_")
    base += AS_WRITTEN if place[-1] in {"path", "body"} else ending
    name, number = base, 2
    while secrets.get(name, secret) != secret:
        name, number = f"N{number}_{base}", number + 1
    secrets[name] = secret
    return f"{{{ENVIRONMENT}{name}}}"
