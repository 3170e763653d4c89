"""What a theatre and its buyers do in the tests of the page that it sells from."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Locator, Page
from typed import Typed

_serial = itertools.count()


def new_event(shop: Typed, **about: Any) -> str:
    event = f"gala-{next(_serial)}"
    wanted = {"event": event, "name": f"Gala {event}", "capacity": 6} | about
    made = shop.call("POST", "/events", {key: value for key, value in wanted.items() if value})
    assert made.status == 201, made
    return event


def address(shop: Typed, event: str) -> str:
    return f"http://127.0.0.1:{shop.port}/?event={event}"


def change(shop: Typed, event: str, **to: Any) -> None:
    assert shop.call("PATCH", f"/events/{event}", to).status == 200


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def buyers(shop: Typed, event: str) -> list[str | None]:
    return [each["buyer"] for each in shop.call("GET", f"/events/{event}/orders").json["orders"]]


def buy(page: Page, name: str = "", email: str = "") -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Buy").click()


def may_buy(page: Page) -> Locator:
    return page.get_by_role("button", name="Buy")
