"""The description of a route, as a decorator of it. ``/openapi.json`` and the page ``/docs`` are made of all of them.

    @blueprint.post("/events/<event>/orders")
    @described("Buy tickets", tag="orders", body=NewOrder, answers={201: Sold}, keyed=True, problems=("sold_out",))
    def buy(event: str) -> Response: ...

A description is data and changes nothing in the route. Tests check that it is true: every route has one, and a fuzzer
compares the answers of a real server with the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Route = TypeVar("Route", bound=Callable[..., Any])

_ATTRIBUTE = "described"

ANYWHERE = ("bad_request", "wrong_host", "internal")
"""Codes that every address may answer with."""
WITH_A_BODY = ("wrong_content_type", "too_large", "not_json", "invalid_value")
OF_THE_ADMIN = ("unauthorized", "forbidden")
OF_A_SELLER = ("payment_needed", *OF_THE_ADMIN)
"""Codes of what is the admin's alone where tickets are paid through a provider."""
CHANGING = ("cross_site", "too_many_requests")
OF_A_PURCHASE = (
    "unknown_event", "sold_out", "doors_closed", "over_limit", "buyer_limit", "buyer_needed", "no_hall", "unknown_seat",
    "row_too_short", "seat_taken", "section_sold_out", "not_together",
)  # fmt: skip
"""What the rules refuse a purchase for."""
OF_THE_STORE = (
    "corrupt_document", "store_closed", "not_durable", "storage_refused", "lock_timeout", "engine_unreachable",
    "engine_refused", "engine_went_back", "pool_exhausted",
)  # fmt: skip
"""Codes of a read of an event."""
OF_A_MUTATION = (
    "overloaded", "contention", "scheduler_gone", "switching", "storage_full", "outcome_unknown", "key_reused",
    "invalid_value", "lease_lost",
)  # fmt: skip
"""Further codes of a change of an event."""


@dataclass(frozen=True, slots=True)
class Description:
    """The description of one route."""

    summary: str
    tag: str
    answers: Mapping[int, Any]
    """The successful answers by status: a msgspec type or ``dict`` (JSON), a media type (text), or None (no body)."""
    body: Any = None
    """The msgspec type that validates the body."""
    form: Any = None
    """The msgspec type that describes the form."""
    query: Any = None
    """The msgspec type that validates the query."""
    problems: tuple[str, ...] = ()
    """Codes of ``errors.TABLE`` that only this route has."""
    admin: bool = False
    """It needs the admin token."""
    keyed: bool = False
    """It takes an ``Idempotency-Key`` and commits at most one mutation."""
    signed: bool = False
    """It is the payment provider's, signed; told again it commits nothing more."""
    stored: bool = False
    """It reads the store."""
    tagged: bool = False
    """Its answer has an ``ETag``, and it knows ``If-None-Match``."""
    details: str = ""
    leads_to: tuple[str, ...] = ()
    """The routes (by endpoint) that take ids out of this one's answer."""

    @property
    def commits_once(self) -> bool:
        """Whether the same sent again has the first answer."""
        return self.keyed or self.signed

    def codes(self, *, changes: bool, in_path: bool) -> list[str]:
        """Every code that it may answer with, each once."""
        found = list(self.problems)
        found += CHANGING if changes else ()
        found += OF_THE_ADMIN if self.admin else ()
        found += ("wrong_signature",) if self.signed else ()
        found += WITH_A_BODY if self.body is not None or self.form is not None else ()
        found += ("invalid_value",) if self.query is not None else ()
        found += ("not_found",) if in_path else ()
        found += OF_THE_STORE if self.stored or self.commits_once else ()
        found += OF_A_MUTATION if self.commits_once else ()
        found += ANYWHERE
        return list(dict.fromkeys(found))


def described(summary: str, **more: Any) -> Callable[[Route], Route]:
    """A decorator that gives a route its ``Description``; it stands directly above the function."""
    description = Description(summary, **more)

    def describe(route: Route) -> Route:
        setattr(route, _ATTRIBUTE, description)
        return route

    return describe


def description_of(route: Callable[..., Any]) -> Description | None:
    """The description of a route; None if it has none."""
    found: Description | None = getattr(route, _ATTRIBUTE, None)
    return found
