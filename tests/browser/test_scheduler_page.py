"""You are the scheduler: with the lock off a person sells the last seat twice, with it on no order of clicks does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

GATES = ("acquire", "view", "append", "answer")

pytestmark = [pytest.mark.browser, pytest.mark.servers]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "explore", "--serve", "--port", "0"]
    game = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert game.stdout is not None
        line = game.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        yield found.group()
        game.send_signal(signal.SIGINT)
        assert "nothing is left running" in game.communicate(timeout=150)[0]
    finally:
        game.kill()
        game.wait()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert errors == []


def go_on(page: Page, order: str) -> None:
    for number, buyer in enumerate(order, 1):
        page.get_by_role("button", name=f"Buyer {buyer} goes on").click()
        expect(page.locator("#steps li")).to_have_count(number)


def test_with_the_lock_off_the_seat_is_sold_twice_and_the_page_explains_it(page: Page) -> None:
    page.get_by_role("button", name="New try, lock off").click()
    go_on(page, "AABBBBAA")
    expect(page.get_by_role("heading", name="Sold twice.")).to_be_visible()
    expect(page.locator("#steps li.wrong")).to_contain_text("that sale is gone")
    expect(page.locator("#result svg")).to_be_visible()
    expect(page.locator("#count")).to_contain_text("sold twice: 1")


def test_with_the_lock_on_the_same_clicks_are_not_possible(page: Page) -> None:
    page.get_by_role("button", name="New try, lock on").click()
    go_on(page, "AAB")
    expect(page.get_by_role("button", name="Buyer B goes on")).to_be_disabled()
    expect(page.locator("#waits")).to_contain_text("Buyer B cannot go on now")
    for number, buyer in enumerate("AABB", 4):
        page.get_by_role("button", name=f"Buyer {buyer} goes on").click()
        expect(page.locator("#steps li")).to_have_count(number)
    expect(page.get_by_role("heading", name="Sold once.")).to_be_visible()


def test_one_after_the_other_is_right_even_without_the_lock(page: Page) -> None:
    page.get_by_role("button", name="New try, lock off").click()
    go_on(page, "AAAABBB")
    expect(page.get_by_role("heading", name="Sold once.")).to_be_visible()
    expect(page.locator("#result")).to_contain_text("Nothing forced that order")


def test_the_hint_is_there_for_who_wants_it(page: Page) -> None:
    page.get_by_text("A hint").click()
    expect(page.locator("#hint p")).to_be_visible()


def test_the_keys_a_and_b_do_what_the_buttons_do_and_the_focus_stays(page: Page) -> None:
    page.get_by_role("button", name="New try, lock off").click()
    expect(page.locator("#step-A")).to_be_enabled(timeout=60_000)
    for number, key in enumerate("AaBbBBAA", 1):
        page.keyboard.press(key)
        expect(page.locator("#steps li")).to_have_count(number)
    expect(page.get_by_role("heading", name="Sold twice.")).to_be_visible()
    page.keyboard.press("A")  # nothing is left to do
    expect(page.locator("#steps li")).to_have_count(8)
    page.get_by_role("button", name="New try, lock off").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#steps li")).to_have_count(0)
    expect(page.get_by_role("button", name="New try, lock off")).to_be_focused()
    expect(page.locator("#step-A")).to_be_enabled(timeout=60_000)
    page.get_by_role("button", name="Buyer A goes on").focus()
    for number in range(1, 4):
        page.keyboard.press("Enter")
        expect(page.locator("#steps li")).to_have_count(number)
        expect(page.get_by_role("button", name="Buyer A goes on")).to_be_focused()


def test_where_the_focused_button_cannot_be_pressed_any_more_the_other_one_has_the_focus(page: Page) -> None:
    page.get_by_role("button", name="New try, lock off").click()
    go_on(page, "AAA")
    page.get_by_role("button", name="Buyer A goes on").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Buyer A goes on")).to_be_disabled()
    expect(page.get_by_role("button", name="Buyer B goes on")).to_be_focused()


def test_each_browser_plays_a_game_of_its_own(page: Page, browser: Browser, address: str) -> None:
    page.get_by_role("button", name="New try, lock off").click()
    go_on(page, "AA")
    other = browser.new_context()
    theirs = other.new_page()
    theirs.goto(address)
    expect(theirs.locator("#count")).to_have_text("no try yet")
    theirs.get_by_role("button", name="New try, lock on").click()
    expect(theirs.locator("#count")).to_contain_text("try 1: 0 with the lock off, 1 with it on", timeout=60_000)
    go_on(theirs, "AAB")
    expect(theirs.get_by_role("button", name="Buyer B goes on")).to_be_disabled()
    go_on_from = "BBBBAA"
    for number, buyer in enumerate(go_on_from, 3):
        page.get_by_role("button", name=f"Buyer {buyer} goes on").click()
        expect(page.locator("#steps li")).to_have_count(number)
    expect(page.get_by_role("heading", name="Sold twice.")).to_be_visible()
    expect(theirs.locator("#steps li")).to_have_count(3)
    other.close()


def test_the_page_is_there_in_chinese(page: Page, address: str) -> None:
    page.goto(f"{address}/?lang=zh")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    page.get_by_role("button", name="重新来，不上锁").click()
    expect(page.locator("#step-A")).to_be_enabled(timeout=60_000)
    for number, key in enumerate("AABBBBAA", 1):
        page.keyboard.press(key)
        expect(page.locator("#steps li")).to_have_count(number)
    expect(page.get_by_role("heading", name="卖出了两次。")).to_be_visible()
    expect(page.locator("#steps li.wrong")).to_contain_text("那一笔销售没有了")
    shown = page.locator("main").inner_text()
    words = set(re.findall(r"[A-Za-z]{3,}", shown)) - {"Last", "Seat", "none", *GATES}
    assert words == set()


def test_when_the_explorer_has_ended_the_page_says_so(browser: Browser) -> None:
    command = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "explore", "--serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as game:
        try:
            assert game.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", game.stdout.readline())
            assert found
            page = browser.new_page()
            page.goto(found.group())
            expect(page.locator("#waits")).to_have_text("")
            game.send_signal(signal.SIGINT)
            assert game.wait(150) == 0
            expect(page.locator("#waits")).to_contain_text("The explorer has ended", timeout=15_000)
            expect(page.get_by_role("button", name="New try, lock off")).to_be_disabled()
            page.close()
        finally:
            game.kill()
