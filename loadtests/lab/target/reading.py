"""What an answer says: the conditions that it meets, and the values that are taken out of it."""

from __future__ import annotations

import contextlib
import email.message
import html.parser
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from loadtests.lab.history.columns import LARGEST
from loadtests.lab.target.tables import (
    WHOLE_ANSWER,
    Condition,
    Conditions,
    From,
    Matching,
    Plain,
    ValueSource,
    each_of,
    source_of,
)
from loadtests.lab.untrusted import NOT_JSON

Headers = Mapping[str, Any] | email.message.Message
_MORE = {"next", "nextpage", "nextpagetoken", "nextcursor", "hasnext", "hasnextpage", "hasmore", "nextlink", "nexturl"}
_TOTALS = {"total", "totalcount", "totalitems", "totalresults", "totalelements"}
_WHOLE = re.compile(r"\s*-?[0-9]{1,20}\s*", re.ASCII)


class AnswerView:
    """One answer, read only as far as somebody asks."""

    def __init__(self, status: int, body: bytes | None, headers: Headers | None = None) -> None:
        self.status = status
        self.body = body or b""
        self._headers: Any = {} if headers is None else headers

    @cached_property
    def _parsed(self) -> tuple[Any, bool]:
        return _parse(self.body)

    @property
    def json(self) -> Any:
        """The answer as JSON; None where it is none."""
        return self._parsed[0]

    @property
    def is_json(self) -> bool:
        return self._parsed[1]

    @cached_property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The fields of the forms in a page of HTML, and what else carries a token: ``<meta name= content=>``."""
        page = _Inputs()
        # Python's parser gives up on some marked sections; what it has found by then stays.
        with contextlib.suppress(AssertionError, ValueError):
            page.feed(self.text)
        return page.found

    def header(self, name: str) -> str | None:
        """A header's value; of one that stands several times, all of them."""
        values = self.all_of(name)
        return ", ".join(values) if values else None

    def all_of(self, name: str) -> list[str]:
        """Every value of a header that may stand several times."""
        lower = name.lower()
        # `get_all` is of Python's and of geventhttpclient's headers; a test gives a plain mapping.
        if (get_all := getattr(self._headers, "get_all", None)) is not None:
            return [str(each) for each in get_all(name) or []]
        return [str(value) for each, value in self._headers.items() if each.lower() == lower]


class _Inputs(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"input", "meta", "button"}:
            given = dict(attrs)
            value = given.get("content" if tag == "meta" else "value")
            if (name := given.get("name")) and value is not None:
                self.found.setdefault(name, value)


def meets(conditions: Conditions | None, reading: AnswerView) -> bool:
    """Whether an answer meets one of the conditions."""
    return any(_meets(condition, reading) for condition in each_of(conditions))


def _meets(condition: Condition, reading: AnswerView) -> bool:
    if condition.status is not None:
        wanted = condition.status if isinstance(condition.status, list) else [condition.status]
        if reading.status not in wanted:
            return False
    if condition.text_contains is not None and condition.text_contains not in reading.text:
        return False
    if condition.field is None and condition.header is None:
        return True
    found = look_up(reading.json, condition.field) if condition.field else reading.header(condition.header or "")
    if condition.contains is not None:
        return found is not None and condition.contains in _in_words(found)
    return found is not None if condition.equals is None else is_equal(found, condition.equals)


def is_equal(found: object, wanted: Plain) -> bool:
    """Equality as JSON has it, in which ``true`` is not 1."""
    return bool(found == wanted) and isinstance(found, bool) is isinstance(wanted, bool)


def fits(element: object, matching: Matching) -> bool:
    """Whether the fields of one element of a list are what they must be."""
    return all(
        any(is_equal(look_up(element, path), each) for each in (wanted if isinstance(wanted, list) else [wanted]))
        for path, wanted in matching.items()
    )


def elements(reading: AnswerView, path: str) -> list[Any] | None:
    """The elements of the list at a path; None where there is none. Of a table they have ``key`` and ``value``."""
    found = look_up(reading.json, path)
    if isinstance(found, dict):
        return [
            {**(each if isinstance(each, dict) else {}), "key": name, "value": each} for name, each in found.items()
        ]
    return found if isinstance(found, list) else None


def has_more_pages(reading: AnswerView, listed: int) -> bool:
    """Whether an answer with a list says that it is not the whole list: by a link, a flag, or a greater total."""
    if re.search(r"""rel\s*=\s*["']?next\b""", reading.header("Link") or ""):
        return True
    totals = [whole(reading.header(name)) for name in ("X-Total-Count", "X-Total")]
    tables = [reading.json] if isinstance(reading.json, dict) else []
    tables += [each for each in tables[0].values() if isinstance(each, dict)] if tables else []
    for table in tables:
        for name, value in table.items():
            plain = re.sub(r"[^a-z]", "", name.lower())
            if plain in _MORE and value not in (None, False, "", 0):
                return True
            totals += [whole(value)] if plain in _TOTALS else []
    return any(total is not None and total > listed for total in totals)


def take(source: From, reading: AnswerView, capacity: int | None = None) -> Any:
    """The value that stands at a source; None where there is none."""
    source = source_of(source)
    if source.count is not None:
        listed = elements(reading, source.count)
        return None if listed is None else sum(fits(each, source.where or {}) for each in listed)
    if source.capacity_minus is not None:
        number = whole(look_up(reading.json, source.capacity_minus))
        return None if number is None or capacity is None else capacity - number
    found = _found(source, reading)
    if source.pattern is None or found is None:
        return found
    match = re.search(source.pattern, _in_words(found))
    return None if match is None else match[1 if match.re.groups else 0]


def _in_words(found: Any) -> str:
    """A value as the text in which something is looked for: a text itself, anything else as JSON."""
    try:
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _found(source: ValueSource, reading: AnswerView) -> Any:
    if source.field is not None:
        return look_up(reading.json, source.field)
    if source.header is not None:
        return reading.header(source.header)
    if source.input is not None:
        return reading.inputs.get(source.input)
    if source.cookie is not None:
        begins = (each.partition(";")[0].partition("=") for each in reading.all_of("Set-Cookie"))
        return next((value.strip() for name, _, value in begins if name.strip() == source.cookie), None)
    return reading.text


def look_up(answer: Any, path: str) -> Any:
    """What stands at ``data.left`` or ``tickets.0`` of an answer; None where nothing does."""
    found = answer
    for step in [] if path == WHOLE_ANSWER else path.split("."):
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _parse(body: bytes) -> tuple[Any, bool]:
    """What an answer says, and whether it is JSON; a number beyond all bounds in it is None."""
    try:
        return msgspec.json.decode(body or b"null"), True
    except NOT_JSON:
        pass
    try:
        return json.loads(body, parse_int=whole, parse_constant=lambda _: None), True
    except (ValueError, RecursionError):
        return None, False


def whole(value: Any, least: int = -LARGEST, most: int = LARGEST) -> int | None:
    """A number as services write it, 3, 3.0 or "3", that a history may hold."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None
