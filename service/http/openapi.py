"""The description of the HTTP interface (OpenAPI 3.1), made of the routes, their descriptions and msgspec's types.

The types that validate requests are the ones described, so the two cannot differ. The refusals of each route are listed
by status, each with its codes out of ``errors.TABLE``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from service.errors import TABLE, Problem
from service.http.described import Description, description_of
from service.http.middleware.request_checks import SAFE_METHODS
from service.http.schemas import ProblemShown
from service.settings import EVENT_ID

SCHEMAS = "#/components/schemas/{name}"
ALWAYS = ("Server-Timing", "Last-Seat-Worker", "Last-Seat-Epoch", "X-Request-Id")
"""Headers of every answer."""

HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Server-Timing": (
        "Milliseconds: waiting for the guard (wait), holding it (hold), in the store (store).",
        {"type": "string"},
    ),
    "Last-Seat-Worker": ("The process that answered.", {"type": "integer"}),
    "Last-Seat-Epoch": ("How often the guard had been switched when this was decided.", {"type": "integer"}),
    "X-Request-Id": (
        "The client's own if it sent a valid one, otherwise a new one; it is in the log.",
        {"type": "string"},
    ),
    "Location": ("The address of the new resource.", {"type": "string"}),
    "ETag": ("Changes with the content; send it back as If-None-Match.", {"type": "string"}),
    "Link": ("The next page, rel=next.", {"type": "string"}),
    "Retry-After": ("Seconds after which it is worth trying again.", {"type": "integer", "minimum": 0}),
    "Idempotency-Replayed": ("Present if this repeats the first answer.", {"type": "string", "enum": ["true"]}),
}

IN_PATH: dict[str, dict[str, Any]] = {"event": {"type": "string", "pattern": f"^{EVENT_ID.pattern}$"}}

# No pattern: blanks that HTTP strips, and the quotes of the IETF draft, are not part of the key.
KEY = (
    "Names this operation; sent again with it, it commits at most once. Let it be unguessable: 1 to 200 printable "
    "ASCII characters."
)

SIGNATURE = (
    "Seconds since 1970, a full stop, and in hex the HMAC-SHA256 of `<seconds>.<event>.<hold>.<body>` under the secret "
    "that the provider and the office share. Without it 403."
)

OVERVIEW = """A ticket office that sells each seat once.

Errors are `application/problem+json` with a `code` and `definite`: *definite* means that surely nothing was written for
this request, now or later. After an indefinite one, and after no answer at all, send the same request again with the
same `Idempotency-Key`: it commits at most once. The id of an order or a hold is its owner's secret: anybody who knows
it may look at the order or hold and cancel it.
"""


def described_rules(app: Flask) -> Iterator[tuple[Rule, str, Description | None]]:
    """Every address and method of the application, except static files, with its description."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint != "static":
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, description_of(app.view_functions[rule.endpoint])


def path_of(rule: Rule) -> str:
    """An address as OpenAPI writes it: ``/events/{event}``."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def document(app: Flask, version: str) -> dict[str, Any]:
    """The whole document. A route without a description is left out; a test checks that there is none."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    types: dict[Any, None] = {ProblemShown: None}
    routes = [(rule, method, about) for rule, method, about in described_rules(app) if about is not None]
    for _, _, about in routes:
        types |= dict.fromkeys(_types_of(about))
    references, schemas = msgspec.json.schema_components(list(types), ref_template=SCHEMAS)
    named = dict(zip(types, references, strict=True))
    rules = {rule.endpoint: rule for rule, _, _ in routes}
    for rule, method, about in routes:
        operation = paths[path_of(rule)][method.lower()] = _operation(rule, method, about, named)
        if about.leads_to:
            operation["responses"][str(min(about.answers))]["links"] = _links(about, rules)
    schemas = {name: _as_ecma(schema) for name, schema in schemas.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Last Seat", "version": version, "description": OVERVIEW, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {
            "schemas": schemas,
            "headers": {name: {"description": says, "schema": schema} for name, (says, schema) in HEADERS.items()},
            "examples": {code: {"value": Problem(code).shown()} for code in TABLE},
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "The admin's token."}},
        },
    }


def _links(about: Description, rules: dict[str, Rule]) -> dict[str, Any]:
    """The routes for which this answer has the ids; ids that are not in the answer were in the request's address."""
    said = about.answers[min(about.answers)].__struct_fields__
    return {
        to.rpartition(".")[2]: {
            "operationId": to.replace(".", "_"),
            "parameters": {
                name: f"$response.body#/{name}" if name in said else f"$request.path.{name}"
                for name in sorted(rules[to].arguments)
            },
        }
        for to in about.leads_to
    }


def _types_of(about: Description) -> Iterator[Any]:
    for each in (about.body, about.form, *about.answers.values()):
        if isinstance(each, type) and each is not dict:
            yield each


def _operation(rule: Rule, method: str, about: Description, named: dict[Any, Any]) -> dict[str, Any]:
    changes = method not in SAFE_METHODS
    found: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": about.summary,
        "tags": [about.tag],
        **({"description": about.details} if about.details else {}),
    }
    if parameters := list(_parameters(rule, about)):
        found["parameters"] = parameters
    if about.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": named[about.body]}}}
    if about.form is not None:
        form = "application/x-www-form-urlencoded"
        found["requestBody"] = {"required": True, "content": {form: {"schema": named[about.form]}}}
    found["responses"] = {
        **{str(status): _answer(status, shape, about, method, named) for status, shape in about.answers.items()},
        **dict(_refusals(about.codes(changes=changes, in_path=bool(rule.arguments)), named)),
    }
    if about.admin:
        found["security"] = [{"admin": []}]
    return found


def _parameters(rule: Rule, about: Description) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments):
        schema = IN_PATH.get(name, {"type": "string", "minLength": 1, "maxLength": 200})
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if about.query is not None:
        [_], schemas = msgspec.json.schema_components([about.query], ref_template=SCHEMAS)
        for name, schema in _as_ecma(schemas[about.query.__name__])["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
    for name, is_read, says in (
        ("Idempotency-Key", about.keyed, KEY),
        ("Last-Seat-Signature", about.signed, SIGNATURE),
        ("If-None-Match", about.tagged, "The ETag of what the client has: 304 if it is still so."),
    ):
        if is_read:
            yield {"name": name, "in": "header", "required": False, "description": says, "schema": {"type": "string"}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter can be left out; an address has no null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 else schema


def _answer(status: int, shape: Any, about: Description, method: str, named: dict[Any, Any]) -> dict[str, Any]:
    headers = list(ALWAYS)
    headers += ["Location"] if status in (201, 303) else []
    headers += ["Idempotency-Replayed"] if about.commits_once else []
    headers += ["ETag"] if about.tagged else []
    headers += ["Link"] if about.query is not None and "cursor" in about.query.__struct_fields__ else []
    found: dict[str, Any] = {"description": _WORDS.get(status, "Done."), "headers": _headers(headers)}
    if isinstance(shape, str):
        found["content"] = {shape: {"schema": {"type": "string"}}}
    elif shape is dict:
        found["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif shape is not None:
        found["content"] = {"application/json": {"schema": named[shape]}}
    return found


_WORDS = {200: "As asked.", 201: "Made.", 204: "Gone.", 303: "Done; look there.", 304: "Unchanged."}


def _refusals(codes: list[str], named: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The refusals by status, each with the codes that it may have."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[TABLE[code].status].append(code)
    for status in sorted(by_status):
        some = by_status[status]
        headers = [*ALWAYS, "Retry-After"]
        yield (
            str(status),
            {
                "description": "; ".join(f"`{code}`: {TABLE[code].title}" for code in some) + ".",
                "headers": _headers(headers),
                "content": {
                    "application/problem+json": {
                        # Not restricted to these codes: code generators would make a type for each answer, or drop it.
                        "schema": named[ProblemShown],
                        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in some},
                    }
                },
            },
        )


def _headers(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _as_ecma(schema: Any) -> Any:
    r"""Patterns in the dialect of JSON Schema, which has no ``\Z``: there ``$`` is the very end."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else _as_ecma(value)
            for name, value in schema.items()
        }
    return [_as_ecma(each) for each in schema] if isinstance(schema, list) else schema
