"""The tables of a target file, as data: how a service that this project did not write is started, asked, understood.

There is one kind of request (``RequestStep``), one kind of condition on an answer (``Condition``), and one way to take
a value out of an answer (``ValueSource``). Everything that the answers do not tell is left out of the history, and the
verdict uses the strongest check that is still possible. ``docs/judge-your-own.md`` explains the tables with examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from loadtests.lab.target.placeholders import names_in

WHOLE_ANSWER = "."

Plain = str | int | float | bool
Matching = dict[str, Plain | list[Plain]]
"""Fields of one element of a list, and what they must be: ``{ status = "free" }``, or one of ``["free", "new"]``."""


class Condition(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that an answer may be. All that is given has to hold; whatever the status, unless that is given."""

    status: int | list[int] | None = None
    field: str | None = None
    equals: Plain | None = None
    header: str | None = None
    contains: str | None = None
    text_contains: str | None = None


Conditions = Condition | list[Condition]
"""One condition, or several of which one has to be met."""


class ValueSource(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a value stands in an answer.

    ``field`` is a path into JSON like ``data.left``, ``tickets.0``, ``.`` for the whole answer. ``input`` is the value
    of a form's field, by its name, in a page of HTML. ``pattern`` is a regular expression whose first group (else whole
    match) is cut out of what was found, or of the answer's text. ``count`` counts the elements of a list, those that
    ``where`` fits. ``capacity_minus`` is a number that is taken from the capacity.
    """

    field: str | None = None
    header: str | None = None
    cookie: str | None = None
    input: str | None = None
    pattern: str | None = None
    count: str | None = None
    where: Matching | None = None
    capacity_minus: str | None = None


From = str | ValueSource
"""A source; a text alone is a ``field``."""


class AnswerFields(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a purchase, a read or a cancellation tells, and where it stands in the answer."""

    remaining: From | None = None
    version: From | None = None
    order: From | None = None
    tickets: From | None = None
    quantity: From | None = None


class RequestStep(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """One request, by default right when it is answered with 2xx.

    Path, headers, body and form may hold placeholders. A body that is no text is sent as JSON. ``take`` keeps values
    of the answer under names.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str
    headers: dict[str, str] = {}
    body: str | dict[str, Any] | list[Any] | None = None
    form: dict[str, Any] | None = None
    take: dict[str, From] = {}
    ok: Conditions | None = None


class SetupStep(RequestStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the set-up: a request, or a command whose output is the answer and whose status has to be 0."""

    path: str = ""
    command: list[str] = []


class Outcomes(RequestStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A request whose answer may have been a success, a refusal, an error.

    ``definite`` are the errors after which surely nothing happened, nor will.
    """

    answer: AnswerFields = AnswerFields()
    definite: Conditions = []


class ReadRequest(Outcomes, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """How to look at what remains."""

    method: Literal["GET", "POST"] = "GET"


class PurchaseStep(Outcomes, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A request of a purchase. ``reserves``: once it is ok, others can no longer buy what this purchase is about."""

    sold_out: Conditions = []
    reserves: bool = True


class Poll(PurchaseStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Asked again and again until the answer meets ``until``; that answer is the purchase's."""

    method: Literal["GET", "POST"] = "GET"
    until: Conditions
    within_s: float = 10.0
    every_s: float = 0.05


class BuyRequest(PurchaseStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """How to buy: this request, then those of ``then``, then ``poll``. ``give_back`` undoes a purchase half done."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    max_quantity: int = 1
    then: list[PurchaseStep] = []
    poll: Poll | None = None
    give_back: RequestStep | None = None

    @property
    def steps(self) -> list[PurchaseStep]:
        """The requests of one purchase, in order."""
        return [self, *self.then, *([self.poll] if self.poll else [])]


class CancelRequest(Outcomes, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """How to give an order back. ``refused`` means that there is no such order, or not any more."""

    method: Literal["DELETE", "POST", "PUT", "PATCH"] = "DELETE"
    refused: Conditions = []


class AuditRequest(RequestStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Where the service lists what it committed, in the format of ``docs/judge-your-own.md``."""

    method: Literal["GET", "POST"] = "GET"


class SeatsRequest(RequestStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Where the seats are listed of which a buyer chooses one: ``{seat}``. Without ``path`` in the answer to [read]."""

    method: Literal["GET", "POST"] = "GET"
    path: str = ""
    list: str
    id: str = "id"
    free: Matching = {}


class OrdersRequest(RequestStep, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """Where the service lists all orders that stand, for the end of a round. ``next`` leads to the next page."""

    method: Literal["GET", "POST"] = "GET"
    list: str
    id: str = "id"
    where: Matching = {}
    next: From | None = None


class BuyerSteps(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What every buyer does once, before buying: logs in, for example. What ``take`` keeps is ``{session.name}``."""

    steps: list[RequestStep] = []
    cookies: bool = False
    new_buyer: Literal["once", "every purchase"] = "once"


class StartCommand(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the service is started; ready when ``ready`` is answered with a status below 500."""

    command: list[str]
    ready: str = "/"
    within_s: float = 30.0
    env: dict[str, str] = {}
    directory: str = ""


class Target(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A service, and how to buy there."""

    name: str = ""
    event: str = "sale"
    capacity: int
    url: str = ""
    start: StartCommand | None = None
    setup: SetupStep | list[SetupStep] | None = None
    buyer: BuyerSteps = BuyerSteps()
    buy: BuyRequest
    read: ReadRequest | None = None
    seats: SeatsRequest | None = None
    cancel: CancelRequest | None = None
    orders: OrdersRequest | None = None
    audit: AuditRequest | None = None
    directory: str = ""
    """Where the target file lies: commands run there. Not in the file itself."""

    @property
    def setup_steps(self) -> list[SetupStep]:
        """The steps of the set-up, in order."""
        if self.setup is None:
            return []
        return self.setup if isinstance(self.setup, list) else [self.setup]

    @property
    def steps(self) -> Iterator[tuple[str, RequestStep]]:
        """All requests that the file describes, by the names of their tables in it."""
        yield from (("setup", step) for step in self.setup_steps)
        yield from (("buyer.steps", step) for step in self.buyer.steps)
        yield "buy", self.buy
        yield from (("buy.then", step) for step in self.buy.then)
        others = {"buy.poll": self.buy.poll, "buy.give_back": self.buy.give_back}
        others |= {name: getattr(self, name) for name in ("read", "seats", "cancel", "orders", "audit")}
        yield from ((name, step) for name, step in others.items() if step is not None)

    @property
    def makes_events(self) -> bool:
        """Whether the service is told an event's name, so that every round can have a fresh one."""
        return any("event" in placeholders(step) for step in self.setup_steps)

    @property
    def buys_what_is_made(self) -> bool:
        """Whether purchases are told which event the set-up has made; true where it makes none."""
        taken = {name for step in self.setup_steps for name in step.take}
        told: set[str] = set().union(*(placeholders(step) for step in self.buy.steps))
        return not self.makes_events or bool(told & {"event", *taken})

    @property
    def obeys_capacity(self) -> bool:
        """Whether the service is told how many tickets there are."""
        told = names_in([self.start.command, self.start.env]) if self.start else set()
        return "capacity" in told.union(*(placeholders(step) for step in self.setup_steps))

    @property
    def cancels_can_be_judged(self) -> bool:
        """Whether a sale with cancellations can come out valid: they have an order, and versions or an audit."""
        told = {name for step in self.buy.steps for name in ("order", "version") if getattr(step.answer, name)}
        return self.cancel is not None and "order" in told and bool("version" in told or self.audit)


def placeholders(step: RequestStep) -> set[str]:
    """The names in braces in a request's path, headers, body and form, or in its command."""
    return names_in([step.path, step.headers, step.body, step.form, getattr(step, "command", [])])


def each_of(conditions: Conditions | None) -> list[Condition]:
    """The alternatives of some conditions; none where there are none."""
    if conditions is None:
        return []
    return conditions if isinstance(conditions, list) else [conditions]


def source_of(source: From) -> ValueSource:
    """A source that is written as a text alone is a field."""
    return ValueSource(field=source) if isinstance(source, str) else source
