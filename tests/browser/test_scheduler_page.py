"""The game, live: the same page, and every move is made on a real service of this browser's own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.servers]

PROGRAM = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", "explore", "--serve", "--port", "0"]


@contextmanager
def explorer() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as game:
        try:
            assert game.stdout is not None
            line = game.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, line
            yield found.group(), game
            game.send_signal(signal.SIGINT)
            assert "nothing is left running" in game.communicate(timeout=150)[0]
        finally:
            game.kill()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with explorer() as (found, _):
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert errors == []


def go_on(page: Page, order: str, made: int = 0) -> None:
    expect(page.locator("#count")).to_contain_text(f"moves: {made},", timeout=60_000)
    for number, token in enumerate(order, made + 1):
        page.locator(f"#moves button[data-token='{token}']").click()
        expect(page.locator("#count")).to_contain_text(f"moves: {number},", timeout=60_000)


def test_without_a_lock_the_seat_is_sold_twice_and_undo_makes_the_moves_before_it_anew(page: Page) -> None:
    go_on(page, "ABBBAA")
    expect(page.get_by_role("heading", name="Broken!")).to_be_visible()
    expect(page.locator("#steps li.wrong")).to_contain_text("that sale is gone")
    page.locator("#undo").click()
    expect(page.locator("#count")).to_contain_text("moves: 5,", timeout=60_000)
    expect(page.locator("#result")).to_have_text("It has happened. Play to the end; still to finish: A.")
    go_on(page, "A", 5)
    expect(page.get_by_role("heading", name="Broken!")).to_be_visible()


def test_with_the_lock_the_same_clicks_are_not_possible(page: Page) -> None:
    page.goto(page.url.partition("#")[0] + "#file-lock/AAB")
    expect(page.locator("#count")).to_contain_text("moves: 3,", timeout=60_000)
    expect(page.locator("#moves button[data-token='B']")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#scene")).to_have_attribute("aria-label", re.compile("waits for the lock"))
    page.keyboard.press("B")
    go_on(page, "A", 3)


def test_each_browser_plays_a_game_of_its_own(page: Page, browser: Browser, address: str) -> None:
    go_on(page, "AB")
    other = browser.new_context()
    theirs = other.new_page()
    theirs.goto(address)
    go_on(theirs, "B")
    go_on(page, "BBAA", 2)
    expect(page.get_by_role("heading", name="Broken!")).to_be_visible()
    expect(theirs.locator("#steps li")).to_have_count(1)
    other.close()


def test_the_page_is_there_in_chinese(page: Page, address: str) -> None:
    page.goto(f"{address}/?lang=zh")
    expect(page.locator("#count")).to_contain_text("步数：0，", timeout=60_000)
    for number, key in enumerate("ABBBAA", 1):
        page.keyboard.press(key)
        expect(page.locator("#count")).to_contain_text(f"步数：{number}，")
    expect(page.get_by_role("heading", name="弄坏了！")).to_be_visible()
    expect(page.locator("#steps li.wrong")).to_contain_text("那一笔销售没有了")


def test_when_the_explorer_has_ended_the_page_says_so(browser: Browser) -> None:
    page = browser.new_page()
    with explorer() as (address, _):
        page.goto(address)
        go_on(page, "A")
    expect(page.locator("#note")).to_contain_text("The explorer has ended", timeout=15_000)
    expect(page.locator("#moves button[data-token='B']")).to_have_attribute("aria-disabled", "true")
    page.close()
