"""Which operation a request is, by a target file: the file's requests, read the other way round.

A request is one of the file's if its method and its path are; what stands where the file has a placeholder is that
placeholder's value. Where several requests of the file have one method and path, as GraphQL has, the one is meant whose
other texts in the body are the same.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from loadtests.lab.history.columns import MOST_TICKETS
from loadtests.lab.record.proxy import ForwardedRequest
from loadtests.lab.target.placeholders import fill_text, literals, names_in
from loadtests.lab.target.tables import RequestStep, Target

OPS = ("buy", "read", "cancel")
_ANYTHING = "[^/]+"


class Recognised(NamedTuple):
    """What was asked for: the operation, and the values of the placeholders in its request."""

    op: str
    values: dict[str, str]

    @property
    def quantity(self) -> int:
        """How many tickets were asked for; one where the request does not say it."""
        said = self.values.get("quantity", "1")
        return int(said) if said.isdecimal() and 1 <= int(said) <= MOST_TICKETS else 1


class _Pattern(NamedTuple):
    op: str
    step: RequestStep
    path: re.Pattern[str]
    query: dict[str, str]


class Recogniser:
    """The requests of a target file that are operations of a history."""

    def __init__(self, target: Target) -> None:
        self._patterns = [_pattern(op, step) for op in OPS if (step := getattr(target, op)) is not None]

    def recognise(self, exchange: ForwardedRequest) -> Recognised | None:
        """The operation that was asked for; None where the file does not describe the request."""
        path, _, query = exchange.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        found = []
        for pattern in self._patterns:
            there = pattern.path.fullmatch(path) if pattern.step.method == exchange.method else None
            if there is not None and pattern.query.keys() <= asked.keys():
                values = {name: urllib.parse.unquote(value) for name, value in there.groupdict().items()}
                same = _read_into(values, pattern.query, {name: asked[name] for name in pattern.query})
                same &= _read_into(values, _lower(pattern.step.headers), exchange.headers, only_placeholders=True)
                same &= _read_into(values, *_bodies(pattern.step, exchange))
                found.append((same, Recognised(pattern.op, values)))
        if len(found) > 1:
            found = [each for each in found if each[0]]
        return found[0][1] if len(found) == 1 else None


def _pattern(op: str, step: RequestStep) -> _Pattern:
    path, _, query = step.path.partition("?")
    parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    return _Pattern(op, step, _regex(path, _ANYTHING), parameters)


def _regex(text: str, anything: str) -> re.Pattern[str]:
    """What a text with placeholders matches; a placeholder that stands twice is the same twice."""
    parts: list[str] = []
    seen: set[str] = set()
    for piece, is_placeholder in literals(text):
        name = piece[1:-1]
        if not is_placeholder:
            parts.append(re.escape(fill_text(piece, {})))
        elif "." in name:  # of a session or the environment: which value it is does not matter
            parts.append(f"(?:{anything})")
        else:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{anything})")
            seen.add(name)
    return re.compile("".join(parts), re.DOTALL)


def _bodies(step: RequestStep, exchange: ForwardedRequest) -> tuple[Any, Any]:
    """The body as the file has it, and as it was sent; forms as their fields."""
    sent = exchange.body or b""
    text = sent.decode("utf-8", "replace")
    if step.form is not None:
        return step.form, dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
    if isinstance(step.body, str):
        if "application/x-www-form-urlencoded" in exchange.headers.get("content-type", ""):
            wanted = urllib.parse.parse_qsl(step.body, keep_blank_values=True)
            return dict(wanted), dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        return step.body, text
    if step.body is None:
        return None, None
    try:
        return step.body, json.loads(sent)
    except (ValueError, RecursionError):
        return step.body, None


def _read_into(values: dict[str, str], wanted: Any, sent: Any, *, only_placeholders: bool = False) -> bool:
    """Put into ``values`` what stands where ``wanted`` has placeholders; whether all other texts are the same."""
    same = True
    for text, value in _side_by_side(wanted, sent):
        if not isinstance(text, str) or not names_in(text):
            same = same and (only_placeholders or text == value)
        elif isinstance(value, str | int | float) and (found := _regex(text, ".+").fullmatch(str(value))):
            values.update(found.groupdict())
        else:
            same = False
    return same


def _side_by_side(wanted: Any, sent: Any) -> Iterator[tuple[Any, Any]]:
    """The scalars of one structure, each with what stands in its place in the other."""
    if isinstance(wanted, dict):
        for key, each in wanted.items():
            yield from _side_by_side(each, sent.get(key) if isinstance(sent, dict) else None)
    elif isinstance(wanted, list):
        for number, each in enumerate(wanted):
            yield from _side_by_side(each, sent[number] if isinstance(sent, list) and number < len(sent) else None)
    else:
        yield wanted, sent


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
