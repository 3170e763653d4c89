"""What a route says about itself, beside itself. ``/openapi.json`` and the page made of it are put together from this.

    @blueprint.post("/events/<event>/orders")
    @described("Buy tickets", tag="orders", body=NewOrder, answers={201: Sold}, keyed=True, problems=("sold_out",))
    def buy(event: str) -> Response: ...

A description is data and changes nothing in the route. That it is true is tested: every route has one, and a fuzzer
holds what a real server answers against the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Route = TypeVar("Route", bound=Callable[..., Any])

_ATTRIBUTE = "described"

ANYWHERE = ("bad_request", "wrong_host", "internal")
"""What every address may answer."""
WITH_A_BODY = ("wrong_content_type", "too_large", "not_json", "invalid_value")
OF_THE_ADMIN = ("unauthorized", "forbidden")
CHANGING = ("cross_site", "too_many_requests")
OF_THE_STORE = (
    "corrupt_document", "store_closed", "not_durable", "storage_refused", "lock_timeout", "engine_unreachable",
    "engine_refused", "engine_went_back", "pool_exhausted",
)  # fmt: skip
"""What a look at an event may meet."""
OF_A_MUTATION = (
    "overloaded", "contention", "scheduler_gone", "switching", "storage_full", "outcome_unknown", "key_reused",
    "invalid_value", "lease_lost",
)  # fmt: skip
"""What a change of an event may meet besides."""


@dataclass(frozen=True, slots=True)
class Description:
    """One route in words and types."""

    summary: str
    tag: str
    answers: Mapping[int, Any]
    """What success looks like, by status: a msgspec type or ``dict`` (JSON), a media type (text), or None (no body)."""
    body: Any = None
    """The msgspec type that validates the body."""
    form: Any = None
    """The same of a form."""
    query: Any = None
    """The msgspec type that validates the query."""
    problems: tuple[str, ...] = ()
    """Codes of ``errors.TABLE`` that are this route's own."""
    admin: bool = False
    """It wants the admin token."""
    keyed: bool = False
    """It takes an ``Idempotency-Key`` and commits at most one mutation."""
    stored: bool = False
    """It reads the store."""
    tagged: bool = False
    """Its answer has an ``ETag``, and it knows ``If-None-Match``."""
    details: str = ""
    leads_to: tuple[str, ...] = ()
    """The routes (by endpoint) that take what this one's answer gives out."""

    def codes(self, *, changes: bool, in_path: bool) -> list[str]:
        """Every code that it may answer with, in the order of their sources."""
        found = list(self.problems)
        found += CHANGING if changes else ()
        found += OF_THE_ADMIN if self.admin else ()
        found += WITH_A_BODY if self.body is not None or self.form is not None else ()
        found += ("invalid_value",) if self.query is not None else ()
        found += ("not_found",) if in_path else ()
        found += OF_THE_STORE if self.stored or self.keyed else ()
        found += OF_A_MUTATION if self.keyed else ()
        found += ANYWHERE
        return list(dict.fromkeys(found))


def described(summary: str, **more: Any) -> Callable[[Route], Route]:
    """Give a route its ``Description``; to stand directly above the function."""
    description = Description(summary, **more)

    def describe(route: Route) -> Route:
        setattr(route, _ATTRIBUTE, description)
        return route

    return describe


def description_of(route: Callable[..., Any]) -> Description | None:
    """What a route says about itself, if anything."""
    found: Description | None = getattr(route, _ATTRIBUTE, None)
    return found
