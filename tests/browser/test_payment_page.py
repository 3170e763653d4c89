"""Buying through a payment provider, in a real browser: the shop's page, and the example in ``examples/payment``."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looks import FAINT
from playwright.sync_api import Browser, Page, expect
from selling import address, new_event
from typed import CHECKOUT, Typed, environment, free_port, wait_for

from loadtests.lab.servers import process

pytestmark = [pytest.mark.browser, pytest.mark.servers]

EXAMPLE = CHECKOUT / "examples" / "payment" / "provider.py"
NOT_TOLD = "has not told us yet"
Visit = Callable[..., Page]


class Provider:
    """The example as its README starts it."""

    def __init__(self, shop: Typed, port: int, folder: Path) -> None:
        self.port = port
        self._said = folder / "provider.said"
        secret = str(shop.data / "pay-secret")
        command = [str(Path(sys.executable).with_name("flask")), "--app", str(EXAMPLE), "run", "--port", str(port)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command,
                env=environment(folder, {"SHOP": f"http://127.0.0.1:{shop.port}", "PAY_SECRET_FILE": secret}),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait(self) -> None:
        wait_for(self._listens, "the provider")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.said
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        process.kill(self._process)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("payment")


@pytest.fixture(scope="module")
def pay_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def shop(folder: Path, pay_port: int) -> Iterator[Typed]:
    url = f"http://127.0.0.1:{pay_port}/"
    arguments = "-k gthread --threads 4 -w 2 service:app"
    with Typed(arguments, folder / "shop", LASTSEAT_EVENT="", LASTSEAT_PAY_URL=url) as shop:
        yield shop


@pytest.fixture(scope="module")
def provider(shop: Typed, folder: Path, pay_port: int) -> Iterator[Provider]:
    provider = Provider(shop, pay_port, folder)
    try:
        provider.wait()
        yield provider
    finally:
        provider.kill()


@pytest.fixture
def event(shop: Typed) -> str:
    return new_event(shop)


@pytest.fixture
def visit(browser: Browser, shop: Typed, provider: Provider) -> Iterator[Visit]:
    """Opens the event's page for one more person; an error that a page logs fails the test."""
    errors: list[str] = []
    contexts = []

    def come(event: str, scripted: bool = True, **how: Any) -> Page:
        context = browser.new_context(java_script_enabled=scripted, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address(shop, event))
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


def choose(page: Page, quantity: str = "2") -> None:
    """Choose tickets, and go to the provider."""
    page.get_by_label("Tickets").select_option(quantity)
    page.get_by_label("Your name").fill("Ann")
    page.get_by_role("button", name="Buy").click()
    page.get_by_role("link", name="Pay").click()
    expect(page.get_by_role("heading", name="Example of a payment")).to_be_visible()
    expect(page.get_by_text("No money moves here")).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def kinds(shop: Typed, event: str) -> list[str]:
    return [each["kind"] for each in shop.records(event)]


def test_choose_pay_and_come_back_to_the_order_and_its_tickets(visit: Visit, shop: Typed, event: str) -> None:
    page = visit(event)
    choose(page)
    press(page, "Pay")
    expect(page.locator("#order .number")).to_have_text(["1", "2"])
    expect(page.locator("#mine li")).to_have_count(1)
    expect(page.locator("#mine li")).to_contain_text("bought: 1, 2")
    page.emulate_media(media="print")
    expect(page.locator(".tickets article")).to_have_count(2)
    expect(page.locator(".tickets svg path").first).to_be_visible()
    assert kinds(shop, event) == ["held", "confirmed"]


def test_who_comes_back_before_the_office_is_told_waits_and_then_sees_the_order(visit: Visit, event: str) -> None:
    page = visit(event)
    choose(page)
    asked = page.url
    back = page.get_by_role("link", name="Back to the shop").get_attribute("href")
    assert back
    page.goto(back)
    expect(page.locator("#not-told")).to_contain_text(NOT_TOLD)
    expect(page.locator("#mine li")).to_contain_text("set aside until")
    other = visit(event)
    other.goto(asked)
    press(other, "Pay")
    expect(page.locator("#order .number")).to_have_text(["1", "2"])
    expect(page.locator("#not-told")).to_have_count(0)
    expect(page.locator("#mine li")).to_contain_text("bought: 1, 2")


def test_who_never_comes_back_finds_the_order_among_theirs(visit: Visit, shop: Typed, event: str) -> None:
    page = visit(event)
    choose(page)
    asked = page.url
    page.goto(address(shop, event))
    expect(page.locator("#mine li")).to_contain_text("set aside until")
    other = visit(event)
    other.goto(asked)
    press(other, "Pay")
    expect(other.locator("#order")).to_be_visible()
    page.reload()
    expect(page.locator("#mine li")).to_contain_text("bought: 1, 2")
    page.locator("#mine a").click()
    expect(page.locator("#order .number")).to_have_text(["1", "2"])


@pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_refused_it_is_said_and_the_places_are_free(visit: Visit, shop: Typed, event: str, *, scripted: bool) -> None:
    page = visit(event, scripted)
    choose(page)
    press(page, "Refuse")
    if not scripted:
        wait_for(lambda: kinds(shop, event)[1:], "the release")
        page.reload()
    expect(page.locator("#hold-ended")).to_have_text("The payment was refused. What was set aside is for sale again.")
    expect(page.locator("#remaining")).to_have_text("6")
    assert kinds(shop, event) == ["held", "released"]


def test_paid_twice_it_is_bought_once_and_the_second_is_given_back(
    visit: Visit, shop: Typed, event: str, provider: Provider
) -> None:
    page = visit(event)
    choose(page)
    press(page, "Pay twice")
    expect(page.locator("#order .number")).to_have_text(["1", "2"])
    wait_for(lambda: "not open any more; its money has to be given back" in provider.said, "the second payment")
    assert kinds(shop, event) == ["held", "confirmed"]


def test_paid_late_it_is_sold_anew_and_the_page_that_said_over_shows_it(visit: Visit, shop: Typed) -> None:
    event = new_event(shop, max_hold_s=4)
    page = visit(event)
    choose(page)
    press(page, "Pay late")
    expect(page.locator("#order .number")).to_have_text(["3", "4"], timeout=30_000)
    assert kinds(shop, event) == ["held", "expired", "sold"]


def test_an_address_that_the_office_did_not_sign_is_refused(visit: Visit, event: str) -> None:
    page = visit(event)
    choose(page)
    cheap = page.url.replace("quantity=2", "quantity=1")
    assert cheap != page.url
    answer = page.goto(cheap)
    assert answer
    assert answer.status == 403


@pytest.mark.parametrize("width", [1280, 390])
def test_everything_can_be_read_and_nothing_is_wider_than_the_screen(visit: Visit, event: str, *, width: int) -> None:
    page = visit(event, viewport={"width": width, "height": 900})
    steps = ("Buy", "#hold"), ("", "#not-told"), ("Pay", "#order")
    for button, shown in steps:
        if button == "Buy":
            page.get_by_role("button", name="Buy").click()
        elif button == "Pay":
            page.get_by_role("link", name="Pay").click()
            press(page, "Pay")
        else:
            page.goto(f"{page.url}&returned=")
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate(FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
