"""What cannot be meant in a target whose shape is right. Every message names the table, the field, what is allowed."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator

from loadtests.lab.target.placeholders import ENVIRONMENT, NAME, SESSION, literals, names_in
from loadtests.lab.target.tables import (
    Condition,
    Conditions,
    From,
    Outcomes,
    Poll,
    RequestStep,
    SetupStep,
    Target,
    each_of,
    placeholders,
    source_of,
)

EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")

_BUYER = {"event", "buyer", "buyer_number"}
_BUY = _BUYER | {"quantity", "key"}
_ALLOWED = {
    "setup": {"event", "capacity"},
    "buyer.steps": _BUYER,
    "buy": _BUY,
    "buy.then": _BUY,
    "buy.poll": _BUY,
    "buy.give_back": _BUY,
    "read": _BUYER,
    "seats": _BUYER,
    "cancel": _BUYER | {"order", "key"},
    "orders": {"event"},
    "audit": {"event"},
}
_ALLOWED_IN_START = {"port", "python", "data", "capacity"}
_ALLOWED_IN_COMMAND = {"event", "capacity", "url", "port", "python", "data"}
_BUILT_IN = set().union(*_ALLOWED.values(), _ALLOWED_IN_START, _ALLOWED_IN_COMMAND, {"seat"})
_CONDITIONS = ("ok", "sold_out", "definite", "refused", "until")
_LONGEST_S = 600


def _places(target: Target) -> Iterator[tuple[str, str, RequestStep]]:
    """Each request with the name of its table, in brackets; of several of one name, which of them it is."""
    steps = list(target.steps)
    several = {table for table, count in Counter(table for table, _ in steps).items() if count > 1}
    numbers: Counter[str] = Counter()
    for table, step in steps:
        numbers[table] += 1
        yield (f"[[{table}]] number {numbers[table]}" if table in several else f"[{table}]"), table, step


def problems(target: Target) -> Iterator[str]:
    """What cannot be meant, each as a sentence."""
    for rule in _RULES:
        yield from rule(target)


def _wrong_address(target: Target) -> Iterator[str]:
    if bool(target.url) == (target.start is not None):
        yield "say either `url`, where the service is, or a table [start] with the command that starts it; not both"
    if not target.url:
        return
    try:
        parts = urllib.parse.urlsplit(target.url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment:
        yield (
            f"`url` is {target.url!r}; it must be like http://127.0.0.1:8080, with a path in front of all paths if "
            "need be"
        )
    elif parts.username or parts.password:
        yield "`url` has a name or a password; say it in `headers`, where it can be kept out of reports"


def _wrong_names(target: Target) -> Iterator[str]:
    if not EVENT_NAME.fullmatch(target.event):
        yield f"`event` is {target.event!r}; it must be lower-case letters, digits, - and _, at most 48"
    if target.capacity < 1:
        yield f"`capacity` is {target.capacity}; it must be 1 or more"


def _wrong_start(target: Target) -> Iterator[str]:
    start = target.start
    if start is None:
        return
    if not start.command or not all(start.command):
        yield '[start] `command` must be a list of words, like ["{python}", "shop.py", "{port}"]'
    elif "port" not in names_in([start.command, start.env]):
        yield (
            "[start] `command` does not hold {port}, nor does `env`: the service must listen on the free port that it "
            "is given"
        )
    yield from _unknown_names("[start]", names_in([start.command, start.env, start.directory]), _ALLOWED_IN_START)
    if not start.ready.startswith("/"):
        yield f"[start] `ready` is {start.ready!r}; it must be a path that begins with /"
    if not 0 < start.within_s <= _LONGEST_S:
        yield f"[start] `within_s` is {start.within_s:g}; it must be more than 0, and at most {_LONGEST_S}"


def _wrong_placeholders(target: Target) -> Iterator[str]:
    """A name is known where it is built in, was taken by an earlier step, or is of the environment or the session."""
    everywhere: set[str] = set()
    session: set[str] = set()
    purchase: set[str] = set()
    for place, table, step in _places(target):
        command = getattr(step, "command", [])
        allowed = _ALLOWED_IN_COMMAND if command else _ALLOWED[table]
        allowed = allowed | everywhere
        if table not in {"setup", "orders", "audit"}:
            allowed = allowed | session
        if table.startswith("buy") and table != "buyer.steps":
            allowed = allowed | purchase | ({"seat"} if target.seats else set())
        yield from _unknown_names(place, placeholders(step), allowed)
        taken = set(step.take)
        for name in sorted(taken):
            if not NAME.fullmatch(name):
                yield f"{place} `take` has {name!r}; a name must be lower-case letters, digits and _, like show_id"
            elif name in _BUILT_IN:
                yield f"{place} `take` has `{name}`, which is a placeholder already; call it otherwise"
        if table == "setup":
            everywhere |= taken
        elif table == "buyer.steps":
            session |= {SESSION + name for name in taken}
        elif table in {"buy", "buy.then"}:
            purchase |= taken
        elif taken:
            yield f"{place} has `take`; it may stand in [setup], [[buyer.steps]], [buy] and [[buy.then]]"


def _unknown_names(place: str, used: set[str], allowed: set[str]) -> Iterator[str]:
    for name in sorted(used - allowed):
        if not name.startswith(ENVIRONMENT):
            may = ", ".join(f"{{{one}}}" for one in sorted(allowed))
            yield f"{place} holds {{{name}}}; it may hold {may}, or {{env.NAME}}; {{{{{name}}}}} writes {{{name}}}"
        elif name.removeprefix(ENVIRONMENT) not in os.environ:
            variable = name.removeprefix(ENVIRONMENT)
            yield f"{place} holds {{{name}}}, and there is no environment variable {variable}: set it to the value"


def _wrong_requests(target: Target) -> Iterator[str]:
    for place, table, step in _places(target):
        yield from _wrong_path(place, table, step, target)
        if step.body is not None and step.form is not None:
            yield f"{place} has `body` and `form`; a request has one of them"
        for name, text in step.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not text.isprintable():
                yield f"{place} `headers` has {name!r}: a header is one line without control characters"
        for name, source in step.take.items():
            yield from _wrong_source(f"{place} `take.{name}`", source)


def _wrong_path(place: str, table: str, step: RequestStep, target: Target) -> Iterator[str]:
    if isinstance(step, SetupStep) and step.command:
        if step.path or step.body is not None or step.form is not None or step.headers:
            yield f"{place} has `command` and a request; a step is one of them: make two steps"
        if not all(step.command):
            yield f'{place} `command` must be a list of words, like ["{{python}}", "make_show.py", "{{event}}"]'
        return
    if table == "seats" and not step.path:
        if target.read is None:
            yield "[seats] has no `path`, and there is no [read] whose answer lists the seats"
        return
    pieces = literals(step.path)
    if not pieces or not (pieces[0][1] or step.path.startswith("/")):
        yield f"{place} `path` is {step.path!r}; it must begin with /, or with a placeholder for an answered address"
    plain = "".join(text for text, is_placeholder in pieces if not is_placeholder)
    if any(each <= " " or each == "\x7f" for each in plain):
        yield f"{place} `path` has a space or a control character; write it percent-encoded"
    if strange := re.search(r"\{[^{}]*\}", plain):
        yield f"{place} `path` has {strange[0]}; a placeholder is lower-case, like {{show_id}}"


def _wrong_source(place: str, source: From) -> Iterator[str]:
    given = source_of(source)
    ways = [name for name in ("field", "header", "cookie", "input", "count", "capacity_minus") if getattr(given, name)]
    if len(ways) > 1 or not (ways or given.pattern):
        yield (
            f"{place} must have exactly one of field, header, cookie, input, count, capacity_minus; or `pattern` "
            "alone, for the whole text"
        )
    if given.where is not None and not given.count:
        yield f"{place} has `where` and no `count`"
    if given.pattern is not None:
        try:
            re.compile(given.pattern)
        except re.error as error:
            yield f"{place} `pattern` is no regular expression: {error}"


def _wrong_conditions(target: Target) -> Iterator[str]:
    for place, _, step in _places(target):
        for field in _CONDITIONS:
            yield from _wrong_condition(f"{place} `{field}`", getattr(step, field, None))


def _wrong_condition(place: str, conditions: Conditions | None) -> Iterator[str]:
    for condition in each_of(conditions):
        compares = "equals" if condition.equals is not None else "contains" if condition.contains is not None else ""
        if condition.field is not None and condition.header is not None:
            yield f"{place} has `field` and `header`; write two conditions"
        elif compares and condition.field is None and condition.header is None:
            yield f"{place} has `{compares}` and no `field` or `header` that it is compared with"
        elif condition.equals is not None and condition.contains is not None:
            yield f"{place} has `equals` and `contains`; one of them is enough"
        elif "" in (condition.contains, condition.text_contains, condition.field, condition.header):
            yield f"{place} has an empty text, which everything contains"
        elif condition == Condition():
            yield f"{place} is empty; it may have `status`, `text_contains`, or `field` or `header` with `equals`"


def _wrong_purchase(target: Target) -> Iterator[str]:
    buy = target.buy
    if not any(each_of(step.sold_out) for step in buy.steps):
        yield "[buy] `sold_out` is empty; say by which answer the service refuses, like { status = 409 }"
    if not 1 <= buy.max_quantity <= 1_000_000:
        yield f"[buy] `max_quantity` is {buy.max_quantity}; it must be 1 or more"
    told = set().union(*(placeholders(step) for step in buy.steps))
    if buy.max_quantity > 1 and "quantity" not in told:
        yield f"[buy] `max_quantity` is {buy.max_quantity}, but nothing holds {{quantity}}: the service is not told it"
    if buy.poll is not None:
        yield from _wrong_poll(buy.poll)
    if buy.give_back is not None and not buy.then:
        yield "[buy.give_back] is for a purchase of several steps, and there is no [[buy.then]]"


def _wrong_poll(poll: Poll) -> Iterator[str]:
    if not each_of(poll.until):
        yield "[buy.poll] `until` is empty; say which answer is the last one"
    if not 0 < poll.within_s <= 60:
        yield f"[buy.poll] `within_s` is {poll.within_s:g}; it must be more than 0, and at most 60"
    if not 0.001 <= poll.every_s <= poll.within_s:
        yield f"[buy.poll] `every_s` is {poll.every_s:g}; it must be 0.001 or more, and at most `within_s`"


def _wrong_answers(target: Target) -> Iterator[str]:
    for place, _, step in _places(target):
        if isinstance(step, Outcomes):
            for name in ("remaining", "version", "order", "tickets", "quantity"):
                source = getattr(step.answer, name)
                if source is not None:
                    yield from _wrong_source(f"{place} `answer.{name}`", source)
    if target.cancel is not None and "order" not in placeholders(target.cancel):
        yield "[cancel] does not hold {order}: the service is not told what is given back"
    if target.cancel is not None and not any(step.answer.order for step in target.buy.steps):
        yield "[cancel] needs `order` in [buy.answer]: where the order's id stands"
    if target.orders is not None and not any(step.answer.order for step in target.buy.steps):
        yield "[orders] needs `order` in [buy.answer]: else no order in the list is known"


def _wrong_seats(target: Target) -> Iterator[str]:
    told = set().union(*(placeholders(step) for step in target.buy.steps))
    if target.seats is None:
        return
    if "seat" not in told:
        yield "[seats] is there, but [buy] does not hold {seat}: the service is not told which one is wanted"
    if target.buy.max_quantity > 1:
        yield f"[buy] `max_quantity` is {target.buy.max_quantity}; with [seats] a purchase is of one seat"


_RULES: tuple[Callable[[Target], Iterator[str]], ...] = (
    _wrong_address,
    _wrong_names,
    _wrong_start,
    _wrong_placeholders,
    _wrong_requests,
    _wrong_conditions,
    _wrong_purchase,
    _wrong_answers,
    _wrong_seats,
)
