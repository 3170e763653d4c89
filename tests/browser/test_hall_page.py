"""The hall on the page at /: seats chosen by mouse, keyboard and finger, and two people who want the same one."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from loadtests.lab.servers.office import RunningOffice, Service

pytestmark = [pytest.mark.browser, pytest.mark.servers]

_serial = itertools.count()
SECTIONS = [
    {"name": "stalls", "rows": [{"name": "A", "seats": 5}, {"name": "B", "seats": 7}]},
    {"name": "box", "rows": [{"name": "left", "seats": 2}]},
]
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOffice]:
    # The delay is long enough for two to read before either writes. The journal keeps what both write.
    service = Service(worker="gthread", store="journal", guard="file", think_ms=1000)
    with RunningOffice(service, tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest.fixture
def event(running: RunningOffice) -> str:
    return new_event(running, SECTIONS)


@pytest.fixture
def visit(browser: Browser, running: RunningOffice, event: str) -> Iterator[Visit]:
    """Opens the event's page for one more person; an error that a page logs fails the test."""
    errors: list[str] = []
    contexts = []

    def come(name: str = event, **how: Any) -> Page:
        context = browser.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{running.url}/?event={name}")
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


def new_event(running: RunningOffice, sections: Any) -> str:
    event = f"house-{next(_serial)}"
    running.office.create_event(event, 0, hall={"sections": sections})
    running.office.switch("on")
    return event


def sold(running: RunningOffice, event: str) -> list[list[str]]:
    """The seats of each sale and hold, from the audit."""
    lines = map(json.loads, running.office.audit(event).splitlines()[1:])
    return [line["seats"] for line in lines if line["kind"] in ("sold", "held")]


def choose(page: Page, *words: str) -> None:
    for each in words:
        page.get_by_role("button", name=f"{each}, free", exact=True).click()


def test_seats_are_chosen_held_paid_and_given_back(visit: Visit, running: RunningOffice, event: str) -> None:
    page = visit()
    choose(page, "stalls, row B, seat 2", "stalls, row B, seat 3")
    expect(page.locator("#chosen-seats")).to_have_text("You chose stalls-B-2, stalls-B-3.")
    page.get_by_role("button", name="Set aside").click()
    expect(page.locator("#hold .number")).to_have_text(["stalls-B-2", "stalls-B-3"])
    expect(page.get_by_role("button", name="stalls, row B, seat 2, yours")).to_be_visible()
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#order .number")).to_have_text(["stalls-B-2", "stalls-B-3"])
    page.get_by_role("button", name="Give them back").click()
    expect(page.get_by_role("button", name="stalls, row B, seat 2, free")).to_be_visible()
    assert sold(running, event) == [["stalls-B-2", "stalls-B-3"]]


def test_the_keyboard_alone_is_enough(visit: Visit, running: RunningOffice, event: str) -> None:
    page = visit()
    page.get_by_role("button", name="stalls, row A, seat 1, free").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowLeft", " "):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="stalls, row B, seat 6, free")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    page.get_by_role("button", name="Buy").press("Enter")
    expect(page.locator("#order .number")).to_have_text(["stalls-B-6", "stalls-B-1"])
    assert sold(running, event) == [["stalls-B-6", "stalls-B-1"]]


def test_what_others_take_is_seen_and_the_nearest_seat_is_offered(
    visit: Visit, running: RunningOffice, event: str
) -> None:
    ann, bob = visit(), visit()
    choose(ann, "stalls, row B, seat 4")
    choose(bob, "stalls, row B, seat 4")
    bob.get_by_role("button", name="Buy").click()
    expect(bob.locator("#order .number")).to_have_text("stalls-B-4")
    expect(ann.locator("#faster")).to_contain_text("Somebody was faster: stalls-B-4 is taken.", timeout=15_000)
    ann.get_by_role("button", name="Take stalls-B-3").click()
    ann.get_by_role("button", name="Buy").click()
    expect(ann.locator("#order .number")).to_have_text("stalls-B-3")
    assert sold(running, event) == [["stalls-B-4"], ["stalls-B-3"]]


def race(pages: list[Page]) -> None:
    """All press the button at one instant, before the office has written anything."""
    for page in pages:
        choose(page, "stalls, row A, seat 3")
    at = time.time() * 1e3 + 1000
    for page in pages:
        page.evaluate("at => void setTimeout(() => document.getElementById('buy').click(), at - Date.now())", at)
    for page in pages:
        expect(page.locator("#order, #problem").first).to_be_visible(timeout=20_000)


def test_with_the_lock_one_of_two_gets_the_seat_and_the_other_is_told_kindly(
    visit: Visit, running: RunningOffice, event: str
) -> None:
    pages = [visit(), visit()]
    race(pages)
    winners = [page for page in pages if page.locator("#order").count()]
    [loser] = [page for page in pages if page not in winners]
    assert len(winners) == 1
    expect(loser.locator("#faster")).to_contain_text(
        "Somebody was faster: stalls-A-3 is taken. The nearest free seat is"
    )
    loser.locator("#nearest").click()
    loser.get_by_role("button", name="Buy").click()
    expect(loser.locator("#order .number")).to_have_text("stalls-A-2")
    assert sold(running, event) == [["stalls-A-3"], ["stalls-A-2"]]


def test_without_the_lock_both_hold_a_ticket_for_the_same_seat(
    visit: Visit, running: RunningOffice, event: str
) -> None:
    """The negative control of the one above."""
    pages = [visit(), visit()]
    running.office.switch("off")
    for page in pages:
        page.reload()
    race(pages)
    assert [page.locator("#order .number").all_inner_texts() for page in pages] == [["stalls-A-3"]] * 2


def test_the_office_chooses_the_best_where_nobody_clicks_on_the_map(
    visit: Visit, running: RunningOffice, event: str
) -> None:
    page = visit(java_script_enabled=False)
    page.get_by_label("Seats", exact=True).select_option("2")
    page.get_by_label("Where").select_option("stalls")
    page.get_by_role("button", name="Buy").click()
    expect(page.locator("#order .number")).to_have_text(["stalls-A-2", "stalls-A-3"])
    assert sold(running, event) == [["stalls-A-2", "stalls-A-3"]]


def test_a_hall_of_20000_seats_shows_its_sections_first(visit: Visit, running: RunningOffice, tmp_path: Path) -> None:
    sections = [{"name": f"block-{number}", "rows": 40, "seats": 25} for number in range(20)]
    event = new_event(running, sections)
    page = visit(event, viewport={"width": 390, "height": 800}, has_touch=True)
    expect(page.locator("#hall .map .seat")).to_have_count(0)
    page.get_by_role("button", name="block-7 1000 free").tap()
    page.get_by_role("button", name="block-7, row B, seat 3, free", exact=True).tap()
    page.get_by_role("button", name="Buy").tap()
    expect(page.locator("#order .number")).to_have_text("block-7-B-3")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
