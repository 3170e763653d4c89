"""The page at / as a person uses it, in a real browser against a real gunicorn."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looks import FAINT, name_of
from playwright.sync_api import Browser, Page, expect
from typed import Typed

from loadtests.lab.servers.office import RunningOffice, Service

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
    form = {name: page.locator(f".buy [name={name}]").input_value() for name in ("event", "key", "quantity")}
    form["do"] = "buy"
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


def test_what_is_set_aside_is_paid_and_becomes_an_order_with_its_numbers(page: Page) -> None:
    page.get_by_label("Tickets").select_option("2")
    page.get_by_role("button", name="Set aside").click()
    expect(page.locator("#hold .number")).to_have_text(["1", "2"])
    expect(page.locator("#remaining")).to_have_text("10")
    expect(page.get_by_role("button", name="Buy")).to_have_count(0)
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#order")).to_contain_text("Sold to you")
    expect(page.locator("#order .number")).to_have_text(["1", "2"])
    expect(page.locator("#remaining")).to_have_text("10")


def test_what_is_set_aside_is_given_back(page: Page) -> None:
    page.get_by_role("button", name="Set aside").click()
    page.get_by_role("button", name="Give it back").click()
    expect(page.locator("#hold-ended")).to_have_text("You gave the tickets that were set aside back.")
    expect(page.locator("#remaining")).to_have_text("12")
    expect(page.get_by_role("button", name="Buy")).to_be_visible()


def test_somebody_elses_hold_leaves_nothing_to_buy_and_says_so(page: Page, event: str) -> None:
    for quantity in ("10", "2"):
        page.get_by_label("Tickets").select_option(quantity)
        page.get_by_role("button", name="Set aside").click()
        page.get_by_role("link", name="Last Seat").click()
        page.goto(page.url + f"?event={event}")
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("alert")).to_have_text("Not enough tickets are left.")


def test_an_order_is_found_again_by_its_id_and_given_back(page: Page, event: str, running: RunningOffice) -> None:
    page.get_by_role("button", name="Buy").click()
    order = page.locator("#order code").inner_text()
    page.goto(f"{running.url}/?event={event}")
    expect(page.locator("#order")).to_have_count(0)
    page.get_by_label("Order", exact=True).fill(order)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#order .number")).to_have_text("1")
    page.get_by_role("button", name="Give it back").click()
    expect(page.locator("#order")).to_contain_text("Cancelled")


def test_an_order_that_there_is_not_is_said_so(page: Page) -> None:
    page.get_by_label("Order", exact=True).fill("o404")
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_role("alert")).to_have_text("There is no such order.")


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


def test_the_page_of_a_real_event_says_that_its_lock_stays_on_when_the_lock_of_the_lab_is_switched_off(
    page: Page, running: RunningOffice, event: str
) -> None:
    running.office._call("POST", "/events", {"event": f"real-{event}", "capacity": 5})
    page.goto(f"{running.url}/?event=real-{event}")
    page.get_by_label("Admin token").fill(running.office.token or "")
    page.get_by_role("button", name="Switch the lock off for lab events").click()
    expect(page.locator("p[role=status].notice")).to_have_text(
        re.compile("The office's guard is now none .* It acts on lab events alone: the lock of this event stays on.")
    )
    expect(page.locator("#lock-state")).to_have_text("on")
    expect(page.locator("main")).not_to_contain_text("The lock is now off")
    expect(page.locator("#lab")).to_have_count(0)
    page.goto(f"{running.url}/?event={event}")
    expect(page.locator("#lock-state")).to_have_text("off")
    expect(page.locator("#lab")).to_contain_text("anybody can read its audit")


def test_a_wrong_token_switches_nothing_and_says_so(page: Page, running: RunningOffice) -> None:
    before = running.office.guard()
    page.get_by_label("Admin token").fill("wrong")
    page.get_by_role("button", name="Switch the lock off").click()
    expect(page.get_by_role("alert")).to_have_text("The admin token is wrong.")
    assert running.office.guard() == before


def test_the_curve_follows_the_sale_over_every_page_and_says_in_words_what_it_shows(
    browser: Browser, running: RunningOffice, event: str
) -> None:
    page = browser.new_page()
    page.goto(f"{running.url}/?event={event}")
    expect(page.locator("#curve-words")).to_contain_text("0 sold, of 12")
    page.get_by_role("button", name="Set aside").click()
    page.get_by_role("link", name=event).click()
    page.get_by_label("Tickets").select_option("3")
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("img")).to_be_visible()
    expect(page.locator("#curve-words")).to_contain_text("3 sold, 1 set aside (dotted), of 12 (dashed)")
    expect(page.locator("#curve-words")).to_contain_text("3 in the last")
    assert page.locator("#curve-sold").get_attribute("d")
    page.close()


def test_with_the_keyboard_alone_tickets_are_bought(page: Page) -> None:
    page.get_by_label("Tickets").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Buy")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#order .number")).to_have_text("1")


def test_the_first_thing_that_the_keyboard_reaches_leads_past_the_head(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the tickets")).to_be_focused()


def test_everything_that_can_be_filled_in_or_pressed_has_a_name(page: Page) -> None:
    page.get_by_role("button", name="Set aside").click()
    expect(page.locator("#hold")).to_be_visible()
    for control in page.locator("input:not([type=hidden]), select, button, a, progress, svg, section").all():
        if control.is_visible():
            assert name_of(page, control), control.evaluate("each => each.outerHTML")


@pytest.mark.parametrize("path", ["/?event={event}", "/docs"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_every_text_stands_out_from_its_ground_and_nothing_is_wider_than_the_screen(
    browser: Browser, running: RunningOffice, event: str, *, scheme: Any, width: int, path: str
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(running.url + path.format(event=event))
    if "event" in path:
        page.get_by_role("button", name="Buy").click()
        expect(page.locator("#order")).to_be_visible()
    faint = page.evaluate(FAINT)
    assert faint == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()


def test_the_interface_is_shown_without_anything_from_elsewhere(browser: Browser, running: RunningOffice) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{running.url}/docs")
    page.get_by_role("link", name="/events/{event}/holds", exact=True).click()
    expect(page.locator("#holds_hold")).to_contain_text("Set tickets aside")
    expect(page.locator("#holds_hold")).to_contain_text("sold_out")
    assert asked
    assert all(url.startswith(running.url) for url in asked)
    page.close()


def test_the_last_verdict_that_the_lab_left_is_shown(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "office" / "results" / "run" / "1"
    folder.mkdir(parents=True)
    (folder.parent / "latest").symlink_to("1")
    witness = {"violation": "oversold", "text": "12 <b>tickets</b> were acknowledged, of 10"}
    check = {"name": "answers", "verdict": "invalid", "count": 2, "witness": [witness]}
    (folder / "verdict.json").write_text(json.dumps({"verdict": "invalid", "operations": 1200, "checks": [check]}))
    page = browser.new_page()
    with Typed("service:app", tmp_path / "office") as server:
        page.goto(f"http://127.0.0.1:{server.port}")
        expect(page.get_by_role("heading", name="The last verdict")).to_have_text("The last verdict: invalid")
        expect(page.locator("#verdict")).to_contain_text("oversold: 12 <b>tickets</b> were acknowledged, of 10")
        expect(page.locator("#verdict")).to_contain_text("1,200 operations of run")
        (folder / "verdict.json").write_text("{")
        page.reload()
        expect(page.locator("#verdict")).to_contain_text("None is here yet")
    page.close()


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
