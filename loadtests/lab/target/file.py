"""A target: a service that this project did not write, described as data; and its file, checked.

The file says where the service is or how to start it, how to buy, look and give back there, where the numbers
stand in its answers, and what means *sold out*. Everything that the answers do not tell is left out of the history,
and the verdict uses the strongest check that is still possible. ``docs/judge-your-own.md`` explains it with examples.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from loadtests.lab.target.validation import shape_problem, text_of, toml_of

EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")
PLACEHOLDER = re.compile(r"\{([a-z]+)\}")
WHOLE_ANSWER = "."


class TargetError(Exception):
    """A wrong target file; the message names the file, the field and what is allowed."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on an answer: its status, a field that exists or equals a value; all that are given must hold."""

    status: int | list[int] | None = None
    field: str | None = None
    equals: str | int | float | bool | None = None


Conditions = Condition | list[Condition]
"""One condition, or several; one of them must hold."""


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths into a JSON answer: ``data.left``, ``tickets.0``, ``.`` for the whole answer."""

    remaining: str | None = None
    version: str | None = None
    order: str | None = None
    tickets: str | None = None
    quantity: str | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request. Path, headers and body may hold placeholders; a body that is no text is sent as JSON."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str
    headers: dict[str, str] = {}
    body: str | dict[str, Any] | list[Any] | None = None


class ReadRequest(Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read what remains."""

    method: Literal["GET", "POST"] = "GET"
    answer: Where = Where()
    ok: Conditions | None = None


class BuyRequest(Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to buy. ``definite`` are the errors after which surely nothing was, or will be, sold."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    max_quantity: int = 1
    answer: Where = Where()
    sold_out: Conditions
    definite: Conditions = []
    ok: Conditions | None = None


class CancelRequest(Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to give an order back. ``refused``: there is no such order, or not any more."""

    method: Literal["DELETE", "POST", "PUT", "PATCH"] = "DELETE"
    answer: Where = Where()
    refused: Conditions = []
    definite: Conditions = []
    ok: Conditions | None = None


class AuditRequest(Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the service lists what it committed, in the format of ``docs/judge-your-own.md``."""

    method: Literal["GET", "POST"] = "GET"


class StartCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the service is started; ready when ``ready`` is answered with a status below 500."""

    command: list[str]
    ready: str = "/"
    within_s: float = 30.0


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service and how to buy there."""

    name: str = ""
    event: str = "sale"
    capacity: int
    url: str = ""
    start: StartCommand | None = None
    setup: Ask | None = None
    buy: BuyRequest
    read: ReadRequest | None = None
    cancel: CancelRequest | None = None
    audit: AuditRequest | None = None
    directory: str = ""
    """Where the target file lies: the command runs there. Not in the file itself."""

    @property
    def asks(self) -> Iterator[tuple[str, Ask]]:
        """The requests that the file describes, by their names."""
        for name in ("setup", "buy", "read", "cancel", "audit"):
            ask = getattr(self, name)
            if ask is not None:
                yield name, ask

    @property
    def makes_events(self) -> bool:
        """Whether the service is told an event's name, so that every round can have a fresh one."""
        return self.setup is not None and "event" in placeholders(self.setup)

    @property
    def obeys_capacity(self) -> bool:
        """Whether the service is told how many tickets there are."""
        told = [] if self.start is None else [" ".join(self.start.command)]
        told_by_setup = self.setup is not None and "capacity" in placeholders(self.setup)
        return told_by_setup or any("{capacity}" in each for each in told)

    @property
    def cancels_can_be_judged(self) -> bool:
        """Whether a sale with cancellations can be valid: they need an order, and versions or an audit."""
        where = self.buy.answer
        return self.cancel is not None and bool(where.order) and bool(where.version or self.audit)


def placeholders(ask: Ask) -> set[str]:
    return {name for text in _texts([ask.path, ask.headers, ask.body]) for name in PLACEHOLDER.findall(text)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(key)
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def read_target(path: Path) -> Target:
    """Read a target file (TOML), or the target in an ``experiment.json``. Raises ``TargetError``."""
    text = text_of(path, TargetError)
    if path.suffix == ".json":
        return _from_experiment(path, text)
    content = toml_of(path, text, TargetError)
    if "directory" in content:
        raise TargetError(f"{path}: `directory` is not for this file; the command runs where the file lies")
    problem = shape_problem(Target, content, text)
    if problem:
        raise TargetError(f"{path}: {problem}")
    try:
        target = msgspec.convert(content | {"directory": str(path.resolve().parent)}, type=Target)
    except msgspec.ValidationError as error:
        raise TargetError(f"{path}: {error}".replace("`$.", "`").replace(" - at", ", at")) from None
    problem = next(problems(target), None)
    if problem:
        raise TargetError(f"{path}: {problem}")
    return target


def _from_experiment(path: Path, text: str) -> Target:
    try:
        return msgspec.convert(msgspec.json.decode(text)["target"], type=Target)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise TargetError(f"{path} holds no target: {error}") from None


_ALLOWED = {
    "setup": {"event", "capacity"},
    "buy": {"event", "quantity", "buyer", "key"},
    "read": {"event", "buyer"},
    "cancel": {"event", "order", "buyer", "key"},
    "audit": {"event"},
}
_ALLOWED_IN_COMMAND = {"port", "python", "data", "capacity"}


def problems(target: Target) -> Iterator[str]:
    """What is wrong in a target whose shape is right, each as a sentence."""
    if bool(target.url) == (target.start is not None):
        yield "say either `url`, where the service is, or a table [start] with the command that starts it; not both"
    if target.url:
        yield from _wrong_url(target.url)
    if not EVENT_NAME.fullmatch(target.event):
        yield f"`event` is {target.event!r}; it must be lower-case letters, digits, - and _, at most 48"
    if target.capacity < 1:
        yield f"`capacity` is {target.capacity}; it must be 1 or more"
    yield from _wrong_start(target)
    for name, ask in target.asks:
        if not ask.path.startswith("/"):
            yield f"[{name}] `path` is {ask.path!r}; it must begin with /"
        yield from _wrong_placeholders(name, placeholders(ask), _ALLOWED[name])
        yield from _wrong_conditions(name, ask)
    yield from _wrong_sale(target)


def _wrong_url(url: str) -> Iterator[str]:
    try:
        parts = urllib.parse.urlsplit(url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment:
        yield f"`url` is {url!r}; it must be like http://127.0.0.1:8080, with a path in front of all paths if need be"


def _wrong_start(target: Target) -> Iterator[str]:
    start = target.start
    if start is None:
        return
    if not start.command or not all(start.command):
        yield '[start] `command` must be a list of words, like ["{python}", "shop.py", "{port}"]'
    elif not any("{port}" in word for word in start.command):
        yield "[start] `command` does not hold {port}: the service must listen on the free port that it is given"
    yield from _wrong_placeholders("start", set(PLACEHOLDER.findall(" ".join(start.command))), _ALLOWED_IN_COMMAND)
    if not start.ready.startswith("/"):
        yield f"[start] `ready` is {start.ready!r}; it must be a path that begins with /"
    if not 0 < start.within_s <= 600:
        yield f"[start] `within_s` is {start.within_s:g}; it must be more than 0, and at most 600"


def _wrong_placeholders(name: str, used: set[str], allowed: set[str]) -> Iterator[str]:
    for each in sorted(used - allowed):
        yield f"[{name}] holds {{{each}}}; it may hold {', '.join(f'{{{one}}}' for one in sorted(allowed))}"


def _wrong_conditions(name: str, ask: Ask) -> Iterator[str]:
    for field in ("ok", "sold_out", "definite", "refused"):
        for condition in each_of(getattr(ask, field, None)):
            if condition.equals is not None and condition.field is None:
                yield f"[{name}] `{field}` has `equals` and no `field` that it is compared with"
            elif condition.status is None and condition.field is None:
                yield f"[{name}] `{field}` is empty; it may have `status`, or `field` with `equals`"


def _wrong_sale(target: Target) -> Iterator[str]:
    buy = target.buy
    if not each_of(buy.sold_out):
        yield "[buy] `sold_out` is empty; say by which answer the service refuses, like { status = 409 }"
    if not 1 <= buy.max_quantity <= 1_000_000:
        yield f"[buy] `max_quantity` is {buy.max_quantity}; it must be 1 or more"
    if buy.max_quantity > 1 and "quantity" not in placeholders(buy):
        yield f"[buy] `max_quantity` is {buy.max_quantity}, but nothing holds {{quantity}}: the service is not told it"
    if target.cancel is not None and "order" not in placeholders(target.cancel):
        yield "[cancel] does not hold {order}: the service is not told what is given back"
    if target.cancel is not None and not buy.answer.order:
        yield "[cancel] needs `order` in [buy.answer]: where the order's id stands"


def each_of(conditions: Conditions | None) -> list[Condition]:
    if conditions is None:
        return []
    return conditions if isinstance(conditions, list) else [conditions]
