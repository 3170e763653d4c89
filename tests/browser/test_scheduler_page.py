"""You are the scheduler: with the lock off a person sells the last seat twice, with it on no order of clicks does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

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
