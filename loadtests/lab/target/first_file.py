"""A first target file for a service: what can be guessed is guessed, and every guess is a question.

Guessed is out of an OpenAPI document, where there is one; else the file has the usual places. It can be read as it is,
so that it can be tried at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

DOCUMENTS = ("openapi.json", "swagger.json", "api/openapi.json", "v3/api-docs", "api-docs", "api-json")
"""Where services show their OpenAPI document, below their address."""

_BUY = ("buy", "purchase", "order", "book", "reserv", "checkout", "ticket", "sale", "claim")
_READ = ("stock", "remaining", "avail", "inventor", "seat", "ticket", "event", "show", "product")
_CANCEL = ("cancel", "refund", "order", "book", "reserv", "ticket")
_SETUP = ("reset", "seed", "event", "show", "product", "stock", "ticket")
_METHODS = ("get", "post", "put", "patch", "delete")
_MOST_FIELDS, _MOST_OTHERS = 12, 40


@dataclass(frozen=True)
class _Operation:
    method: str
    path: str
    described: Mapping[str, Any]


def first_file(url: str, document: Mapping[str, Any] | None = None) -> str:
    """The text of a target file for the service at ``url``."""
    operations = list(_operations(document or {}))
    buy = _best(operations, {"post", "put", "patch"}, _BUY)
    read = _best(operations, {"get"}, _READ)
    taken = [buy] if buy else []
    cancel = _best([each for each in operations if each not in taken], {"delete"}, _CANCEL)
    setup = _best([each for each in operations if each not in taken], {"post", "put"}, _SETUP)
    used = {id(each) for each in (buy, read, cancel, setup)}
    others = [f"{each.method.upper()} {each.path}" for each in operations if id(each) not in used]
    parts = [
        _TOP.format(url=_quoted(url)),
        _table(document, "setup", setup, _SETUP_USUAL, active=False),
        _table(document, "buy", buy, _BUY_USUAL),
        _AFTER_BUY,
        _table(document, "read", read, _READ_USUAL, active=read is not None),
        'answer = { remaining = "left" }       # ? where the number that is left stands; or { count = "seats", where = '
        '{ status = "free" } }\n' if read is not None else "",
        _table(document, "cancel", cancel, _CANCEL_USUAL, active=False),
        _END,
        f"\n# The document has also: {', '.join(map(_one_line, others[:_MOST_OTHERS]))}" if others else "",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part) + "\n"


def _operations(document: Mapping[str, Any]) -> Iterator[_Operation]:
    paths = document.get("paths")
    base = str(document.get("basePath", "")).rstrip("/")
    for path, methods in paths.items() if isinstance(paths, dict) else ():
        for method in _METHODS if isinstance(methods, dict) else ():
            if isinstance(methods.get(method), dict) and str(path).startswith("/"):
                yield _Operation(method, base + str(path), methods[method])


def _best(operations: list[_Operation], methods: set[str], words: tuple[str, ...]) -> _Operation | None:
    """The operation whose path has the word that tells most; of several the shortest path."""

    def place(text: object) -> int:
        return next((at for at, word in enumerate(words) if word in str(text).lower()), len(words))

    def rank(operation: _Operation) -> tuple[int, int, int]:
        return place(operation.path), place(operation.described.get("operationId", "")), len(operation.path)

    fitting = [each for each in operations if each.method in methods and min(rank(each)[:2]) < len(words)]
    return min(fitting, key=rank, default=None)


def _table(
    document: Mapping[str, Any] | None, name: str, operation: _Operation | None, usual: str, *, active: bool = True
) -> str:
    """One table; a guess that may well be wrong is there as a comment."""
    if operation is None:
        return usual
    path = _path(operation.path, last="{order}" if name == "cancel" else "1")
    lines = [f"[{name}]", f'method = "{operation.method.upper()}"', f"path = {_quoted(path)}"]
    if "{" in operation.path:
        lines[-1] += f"   # ? of {_one_line(operation.path)}: a fixed id, or {{name}} of a value that a [[setup]] takes"
    if headers := _headers(operation):
        lines.append(f"headers = {{ {', '.join(f'{_quoted(each)} = {_quoted(_KEY)}' for each in headers)} }}")
    body = _body(document or {}, operation, _FOR_SETUP if name == "setup" else _FOR_BUYERS)
    if body:
        lines.append(f"body = {{ {', '.join(f'{_quoted(field)} = {value}' for field, value in body.items())} }}")
        lines[-1] += "   # ? {quantity} {buyer} {buyer_number} {key} are filled in"
    end = "" if name in {"buy", "read"} else "\n"
    return "\n".join(line if active else f"# {line}" for line in lines) + end


def _quoted(text: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)


def _path(path: str, last: str) -> str:
    """With an id for every parameter, and nothing in it that a file could not say."""
    between = [re.sub(r"[{}]", "", text) for text in re.split(r"\{[^{}]*\}", re.sub(r"[\s\x00-\x20\x7f]", "%20", path))]
    ids = [*["1"] * (len(between) - 2), last] if len(between) > 1 else []
    return "".join(text + each for text, each in zip_longest(between, ids, fillvalue=""))


def _headers(operation: _Operation) -> list[str]:
    """The headers that take a key of the request."""
    given = operation.described.get("parameters")
    named = [each.get("name") for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return [name for name in named if isinstance(name, str) and re.fullmatch(r"[\w-]*idempot[\w-]*", name, re.I | re.A)]


def _body(document: Mapping[str, Any], operation: _Operation, words: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    content = operation.described.get("requestBody", {})
    content = content.get("content", {}) if isinstance(content, dict) else {}
    kinds = [each for each in content.values() if isinstance(each, dict)] if isinstance(content, dict) else []
    schema = _resolved(document, kinds[0].get("schema") if kinds else None)
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return {}
    return {
        str(name): _example(str(name), _resolved(document, kind), words)
        for name, kind in list(fields.items())[:_MOST_FIELDS]
        if not re.search(r"[{}]", str(name))
    }


def _resolved(document: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """A schema, found where its reference leads; references to references no further than a few."""
    for _ in range(8):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        schema = document
        for part in reference.removeprefix("#/").split("/"):
            schema = schema.get(part) if isinstance(schema, dict) else None
    return {}


def _example(name: str, kind: Mapping[str, Any], words: Sequence[tuple[str, str, str]]) -> str:
    """What a field most likely takes, as TOML."""
    is_number = kind.get("type") in {"integer", "number"}
    for pattern, text, number in words:
        value = number if is_number else text
        if value and re.search(pattern, name.lower()):
            return _quoted(value)
    if is_number:
        return "1"
    return "true" if kind.get("type") == "boolean" else '"?"'


_KEY = "{key}"
_FOR_BUYERS = (
    (r"quantity|count|amount|seats$|tickets$|number_of", "", "{quantity}"),
    (r"mail", "{buyer}@example.org", ""),
    (r"user|buyer|customer|member|client|name|account", "{buyer}", "{buyer_number}"),
    (r"idempot|request_?id|key", _KEY, ""),
)
"""Patterns of names, and what stands for a text or a number of such a name."""
_FOR_SETUP = (
    (r"capacity|stock|quantity|tickets|seats|total|remaining|available", "", "{capacity}"),
    (r"event|name|title|slug|show|id$", "{event}", ""),
)

_TOP = """\
# How to buy at this service, for: lastseat run --target <this file>. Lines with a ? are questions.
# Try it, each request once and without load: lastseat target try <this file>. All tables: docs/judge-your-own.md

capacity = 50                          # ? how many tickets there are at the beginning of a round
url = {url}

# [start]                              # instead of `url`: the command that starts it, {{port}} is a free port
# command = ["./shop", "--port", "{{port}}"]
"""

_SETUP_USUAL = """\
# [[setup]]                            # ? what makes the tickets anew before each round; as many steps as it takes
# method = "POST"
# path = "/admin/reset"
# headers = { Authorization = "Bearer {env.SHOP_TOKEN}" }   # from the environment: no secret in this file
# body = { stock = "{capacity}" }
# take = { show = "data.id" }          # then {show} is that value, everywhere
"""

_BUY_USUAL = """\
[buy]
method = "POST"
path = "/buy"                          # ? where to buy
body = { quantity = "{quantity}", buyer = "{buyer}" }   # ? `form = { … }` for forms; {key} for idempotency"""

_AFTER_BUY = """\
sold_out = { status = 409 }            # ? how it says that nothing is left; or { field = "error", contains = "sold" },
                                       #   { text_contains = "sold out" }, { header = "location", contains = "/gone" }
# definite = { status = [400, 429, 503] }    # ? errors after which surely nothing was sold, nor will be
# answer = { order = "id", remaining = "left" }   # ? where in the answer these stand
# max_quantity = 4                     # ? how many one purchase may ask for, where the request says {quantity}
"""

_READ_USUAL = """\
# [read]                               # ? where one sees what is left: it is what makes a verdict say most
# path = "/stock"
# answer = { remaining = "left" }
"""

_CANCEL_USUAL = """\
# [cancel]                             # ? how an order is given back
# method = "DELETE"
# path = "/orders/{order}"
"""

_END = """\
# [buyer]                              # ? does one have to log in?
# cookies = true
# [[buyer.steps]]
# path = "/login"
# form = { user = "{buyer}", password = "{env.SHOP_PASSWORD}" }
# take = { token = "token" }           # then {session.token} is that value, of this buyer"""
