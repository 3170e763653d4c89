"""A first target file for a service: what can be guessed is guessed, and every guess is a question.

Guessed is out of an OpenAPI document, where there is one; else the file has the usual places. It can be read as it is,
so that it can be tried at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DOCUMENTS = ("openapi.json", "swagger.json", "api/openapi.json", "v3/api-docs", "api-docs", "api-json")
"""Where services show their OpenAPI document, below their address."""

_BUY = ("buy", "purchase", "order", "book", "reserv", "checkout", "ticket", "sale", "claim")
_READ = ("stock", "remaining", "avail", "inventor", "seat", "ticket", "event", "show", "product")
_CANCEL = ("cancel", "refund", "order", "book", "reserv", "ticket")
_SETUP = ("reset", "seed", "event", "show", "product", "stock", "ticket")
_METHODS = ("get", "post", "put", "patch", "delete")
_MOST_FIELDS = 12


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
    parts = [
        _TOP.format(url=json.dumps(url)),
        _table(document, "setup", setup, _SETUP_USUAL, active=False),
        _table(document, "buy", buy, _BUY_USUAL),
        _AFTER_BUY,
        _table(document, "read", read, _READ_USUAL, active=read is not None),
        'answer = { remaining = "left" }       # ? where the number that is left stands; or { count = "seats", where = '
        '{ status = "free" } }' if read is not None else "",
        _table(document, "cancel", cancel, _CANCEL_USUAL, active=False),
        _END,
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

    def rank(operation: _Operation) -> tuple[int, int]:
        text = f"{operation.path} {operation.described.get('operationId', '')}".lower()
        return next((at for at, word in enumerate(words) if word in text), len(words)), len(operation.path)

    fitting = [each for each in operations if each.method in methods and rank(each)[0] < len(words)]
    return min(fitting, key=rank, default=None)


def _table(
    document: Mapping[str, Any] | None, name: str, operation: _Operation | None, usual: str, *, active: bool = True
) -> str:
    """One table; a guess that may well be wrong is there as a comment."""
    if operation is None:
        return usual
    lines = [f"[{name}]", f'method = "{operation.method.upper()}"', f"path = {json.dumps(_path(operation.path))}"]
    if "{" in operation.path:
        lines[-1] += f"   # ? of {operation.path}: a fixed id, or {{name}} of a value that a [[setup]] takes"
    body = _body(document or {}, operation)
    if body:
        lines.append(f"body = {{ {', '.join(f'{json.dumps(field)} = {value}' for field, value in body.items())} }}")
        lines[-1] += "   # ? {quantity} {buyer} {buyer_number} {key} are filled in"
    text = "\n".join(lines)
    return text if active else "\n".join(f"# {line}" for line in lines)


def _path(path: str) -> str:
    """With an id for every parameter, and nothing in it that a file could not say."""
    return re.sub(r"\s", "%20", re.sub(r"\{[^{}]*\}", "1", path))


def _body(document: Mapping[str, Any], operation: _Operation) -> dict[str, str]:
    content = operation.described.get("requestBody", {})
    content = content.get("content", {}) if isinstance(content, dict) else {}
    kinds = [each for each in content.values() if isinstance(each, dict)] if isinstance(content, dict) else []
    schema = _resolved(document, kinds[0].get("schema") if kinds else None)
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return {}
    return {
        str(name): _example(str(name), _resolved(document, kind)) for name, kind in list(fields.items())[:_MOST_FIELDS]
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


def _example(name: str, kind: Mapping[str, Any]) -> str:
    """What a field of a purchase most likely takes, as TOML."""
    low, is_number = name.lower(), kind.get("type") in {"integer", "number"}
    if re.search(r"quantity|count|amount|seats$|tickets$|number_of", low) and is_number:
        return '"{quantity}"'
    if re.search(r"mail", low):
        return '"{buyer}@example.org"'
    if re.search(r"user|buyer|customer|member|client|name|account", low):
        return '"{buyer_number}"' if is_number else '"{buyer}"'
    if re.search(r"idempot|request_?id|key", low):
        return '"{key}"'
    if is_number:
        return "1"
    return "true" if kind.get("type") == "boolean" else '"?"'


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

_END = """
# [buyer]                              # ? does one have to log in?
# cookies = true
# [[buyer.steps]]
# path = "/login"
# form = { user = "{buyer}", password = "{env.SHOP_PASSWORD}" }
# take = { token = "token" }           # then {session.token} is that value, of this buyer"""
