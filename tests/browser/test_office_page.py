"""The page at / as a person uses it, in a real browser against a real gunicorn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from loadtests.lab.launcher import RunningOffice, Service

pytestmark = [pytest.mark.browser, pytest.mark.servers]

_serial = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOffice]:
    with RunningOffice(Service(worker="gthread", guard="file"), tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest.fixture
def event(running: RunningOffice) -> str:
    """A fresh event of twelve seats, under the lock."""
    event = f"gala-{next(_serial)}"
    running.office.create_event(event, 12)
    running.office.switch("on")
    return event


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, browser: Browser, running: RunningOffice, event: str) -> Iterator[Page]:
    """The event's page, open; an error that the page logs fails the test."""
    context = browser.new_context(java_script_enabled=request.param == "with JavaScript")
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{running.url}/?event={event}")
    yield page
    context.close()
    assert errors == []


def test_buying_one_shows_its_number_and_the_count_falls(page: Page) -> None:
    expect(page.locator("#remaining")).to_have_text("12")
    page.get_by_role("button", name="Buy").click()
    expect(page.locator("#order .number")).to_have_text("1")
    expect(page.locator("#remaining")).to_have_text("11")


def test_a_reload_after_buying_buys_nothing_more(page: Page, running: RunningOffice, event: str) -> None:
    page.get_by_role("button", name="Buy").click()
    expect(page.locator("#order")).to_be_visible()
    page.reload()
    expect(page.locator("#remaining")).to_have_text("11")
    assert running.office.audit(event).count(b'"kind":"sold"') == 1


def test_the_same_form_sent_twice_buys_once(page: Page, running: RunningOffice, event: str) -> None:
    form = {name: page.locator(f".buy [name={name}]").input_value() for name in ("do", "event", "key", "quantity")}
    told = [page.request.post(running.url, form=form).url for _ in range(2)]
    assert told[0] == told[1]
    assert running.office.audit(event).count(b'"kind":"sold"') == 1


def test_several_are_bought_at_once_and_given_back(page: Page) -> None:
    page.get_by_label("Tickets").select_option("4")
    page.get_by_role("button", name="Buy").click()
    expect(page.locator("#order .number")).to_have_text(["1", "2", "3", "4"])
    page.get_by_role("button", name="Give them back").click()
    expect(page.locator("#order")).to_contain_text("Cancelled")
    expect(page.locator("#remaining")).to_have_text("12")


def test_the_last_seat_is_sold_once_and_the_next_buyer_is_told(page: Page) -> None:
    for quantity in ("10", "2"):
        page.get_by_label("Tickets").select_option(quantity)
        page.get_by_role("button", name="Buy").click()
    expect(page.locator("#remaining")).to_have_text("0")
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("alert")).to_have_text("Not enough tickets are left.")
    expect(page.locator("#remaining")).to_have_text("0")


def test_the_admin_switches_the_lock_off_and_on_for_all_processes(page: Page, running: RunningOffice) -> None:
    token = running.office.token or ""
    expect(page.locator("#lock")).to_contain_text("The lock is on")
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Switch the lock off").click()
    expect(page.locator("#lock")).to_contain_text("The lock is off")
    assert running.office.guard().guard == "none"
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Switch the lock on").click()
    expect(page.locator("#lock")).to_contain_text("The lock is on")
    assert running.office.guard().guard == "file"


def test_a_wrong_token_switches_nothing_and_says_so(page: Page, running: RunningOffice) -> None:
    before = running.office.guard()
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Switch the lock off").click()
    expect(page.get_by_role("alert")).to_have_text("The admin token is wrong.")
    assert running.office.guard() == before


def test_the_count_follows_the_sale_without_a_reload(browser: Browser, running: RunningOffice, event: str) -> None:
    watching, buying = browser.new_page(), browser.new_page()
    watching.goto(f"{running.url}/?event={event}")
    expect(watching.locator("#remaining")).to_have_text("12")
    buying.goto(f"{running.url}/?event={event}")
    buying.get_by_role("button", name="Buy").click()
    expect(watching.locator("#remaining")).to_have_text("11")
    running.office.switch("off")
    expect(watching.locator("#lock-state")).to_have_text("off")
    watching.close()
    buying.close()


def test_an_office_without_events_says_how_to_make_one(browser: Browser, serve: Callable[..., RunningOffice]) -> None:
    page = browser.new_page()
    page.goto(serve(worker="sync", processes=1).url)
    expect(page.get_by_role("heading", level=1)).to_have_text("No event yet")
    page.close()
