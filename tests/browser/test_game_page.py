"""The game in one file, opened from the disk: by mouse and by keyboard, on a wide screen and on a telephone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from looks import FAINT, name_of
from playwright.sync_api import Browser, Page, expect

from loadtests.lab.explore.game.levels import load
from loadtests.lab.explore.game.page import recordings_in
from loadtests.lab.explore.game.recording import LevelRecording

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "docs" / "game.html"
LEVELS = list(load())
FIRST, MIDDLE, LAST = LEVELS[0], "the-hold-expires", LEVELS[-1]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
GATES = {"invoke", "acquire", "view", "append", "release", "durable", "answer"}
NO_CHINESE = {"Last", "Seat", "English", "worker", "kill", "Redis", "SQLite", "json", "sqlite", "redis", "none"} | GATES


@pytest.fixture(scope="module")
def recordings() -> dict[str, LevelRecording]:
    return recordings_in(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """The game, open; a request for anything but the page, or an error in it, fails the test."""
    yield from opened(browser, viewport=request.param)


@pytest.fixture
def wide(browser: Browser) -> Iterator[Page]:
    yield from opened(browser, viewport=WIDE)


def opened(browser: Browser, **how: Any) -> Iterator[Page]:
    context = browser.new_context(**how, locale="en-GB", permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(PAGE.as_uri())
    yield page
    context.close()
    assert errors == []
    assert {url.partition("#")[0].partition("?")[0] for url in asked if not url.startswith("data:")} == {PAGE.as_uri()}


def to_level(page: Page, name: str) -> None:
    page.locator(f"#levels a[href='#{name}']").click()
    expect(page.locator("#level-title")).to_contain_text(f"{LEVELS.index(name) + 1}.")
    expect(page.locator(f"#levels a[href='#{name}']")).to_have_attribute("aria-current", "page")


def moves(schedule: str) -> list[str]:
    return re.findall(r"[-~!]?.", schedule)


def click(page: Page, schedule: str) -> None:
    for number, token in enumerate(moves(schedule), 1):
        page.locator(f"#moves button[data-token='{token}']").click()
        expect(page.locator("#count")).to_contain_text(f"moves: {number},")


def click_next(page: Page, schedule: str) -> None:
    """Click on from where the page is."""
    for token in moves(schedule):
        before = page.locator("#link").input_value()
        page.locator(f"#moves button[data-token='{token}']").click()
        expect(page.locator("#link")).to_have_value(before + token)


def press(page: Page, schedule: str) -> None:
    for number, token in enumerate(moves(schedule), 1):
        goes_on = len(token) == 1 and (token.isupper() or token == "t")
        page.keyboard.press(token if goes_on else f"Shift+{token[-1].upper()}")
        expect(page.locator("#count")).to_contain_text(f"moves: {number},")


def best(recordings: dict[str, LevelRecording], level: str) -> str:
    found = recordings[level].best
    assert found is not None
    return found.schedule


@pytest.mark.parametrize(
    ("page", "level", "play"),
    [(WIDE, FIRST, click), (NARROW, FIRST, press), (WIDE, MIDDLE, press), (NARROW, MIDDLE, click)],
    indirect=["page"],
    ids=["wide-mouse", "narrow-keyboard", "wide-keyboard", "narrow-mouse"],
)
def test_a_level_is_won_by_its_best_order_and_the_page_says_why(
    page: Page, recordings: dict[str, LevelRecording], level: str, play: Any
) -> None:
    to_level(page, level)
    play(page, best(recordings, level))
    expect(page.get_by_role("heading", name="Broken!")).to_be_visible()
    expect(page.locator("#result")).to_contain_text("more tickets were sold than there are seats")
    expect(page.locator("#result")).to_contain_text("It cannot be done with fewer switches.")
    expect(page.locator("#result code")).to_have_text(
        f"lastseat explore --replay {recordings[level].replay}{best(recordings, level)}"
    )
    expect(page.locator("#steps b.pair")).to_have_text(["①", "②", "③"])
    expect(page.locator("#result .reason")).to_contain_text(
        ["A read version", "B had written version", "A writes version"]
    )
    expect(page.locator("#steps li.wrong")).to_have_count(1)
    expect(page.locator(f"#levels a[href='#{level}']")).to_have_text("✓")
    page.reload()
    expect(page.locator(f"#levels a[href='#{level}']")).to_have_text("✓")
    expect(page.get_by_role("heading", name="Broken!")).to_be_visible()


@pytest.mark.parametrize(
    ("page", "play"), [(WIDE, press), (NARROW, click)], indirect=["page"], ids=["wide-keyboard", "narrow-mouse"]
)
def test_the_last_level_stands_what_broke_the_lease_and_says_why(
    page: Page, recordings: dict[str, LevelRecording], play: Any
) -> None:
    to_level(page, LAST)
    play(page, best(recordings, "lease-and-pause") + "A")
    expect(page.get_by_role("heading", name="This sequence of steps is harmless.")).to_be_visible()
    expect(page.locator(f"#levels a[href='#{LAST}']")).not_to_have_text("✓")
    if play is press:
        page.keyboard.press("n")
    else:
        page.locator("#claim").click()
    expect(page.get_by_role("heading", name="Right: nothing breaks it.")).to_be_visible()
    expect(page.locator("#result")).to_contain_text(f"All {recordings[LAST].orders} sequences of steps were tried.")
    expect(page.locator("#result")).to_contain_text("the store had seen a higher number")
    expect(page.locator("#steps")).to_contain_text("The store has seen a higher lease number than A's, and refuses")
    expect(page.locator(f"#levels a[href='#{LAST}']")).to_have_text("✓")


def test_who_says_that_no_order_breaks_a_level_which_one_does_is_told_so(wide: Page) -> None:
    press(wide, "AAABB")
    wide.keyboard.press("N")
    expect(wide.get_by_role("heading", name="It can be broken.")).to_be_visible()
    expect(wide.locator("#levels a").first).to_have_text("1")
    wide.keyboard.press("U")
    expect(wide.locator("#result")).to_be_empty()


@pytest.mark.parametrize("level", [FIRST, LAST])
def test_nothing_is_given_away_before_one_sequence_was_played_to_its_end(page: Page, level: str) -> None:
    to_level(page, level)
    click(page, "A")
    page.locator("#claim").click()
    expect(page.locator("#note")).to_have_text("First play one sequence of steps to its end.")
    expect(page.locator("#result")).to_be_empty()
    expect(page.locator(f"#levels a[href='#{level}']")).not_to_have_text("✓")


def test_a_level_that_is_won_by_a_refusal_says_that_nothing_is_lost_and_when_it_happened(page: Page) -> None:
    to_level(page, "two-carts")
    click(page, "AB")
    expect(page.locator("#moves button[data-token='B']")).to_contain_text("B asks for the lock of a")
    click_next(page, "AB")
    expect(page.locator("#steps li").last).to_have_text("A is told: lock_timeout. (not your move)")
    expect(page.locator("#result")).to_have_text("It has happened. Play to the end; still to finish: B.")
    expect(page.locator("#moves button[data-token='A']")).to_contain_text("A is done")
    click_next(page, "BBB")
    expect(page.get_by_role("heading", name="You did it: one of them was refused.")).to_be_visible()
    expect(page.locator("#result")).to_contain_text("Nothing is lost, so the command below finds no violation")
    expect(page.get_by_role("heading", name="Broken!")).to_have_count(0)


def test_a_lease_has_its_number_in_the_picture_and_who_is_stopped_is_said_to_go_on(page: Page) -> None:
    to_level(page, LAST)
    click(page, "AA-AB")
    expect(page.locator("#scene .lock")).to_have_text(["lease 1", "(ended)", "lease 2"])
    stopped = page.locator("#moves button[data-token='A']")
    expect(stopped).to_contain_text("A goes on by itself when the others are done")
    expect(page.locator("#steps")).to_contain_text("A is stopped, with the worker, at “A writes”.")
    page.locator("#task a").click()
    expect(page.locator("#level-title")).to_contain_text(f"{LEVELS.index('lease-and-pause') + 1}.")


@pytest.mark.parametrize(
    ("link", "says", "made"),
    [
        ("nosuch/ABX", "there is no level “nosuch”", 0),
        (f"{FIRST}/AAAABB", "after the steps AAA its next step cannot be done", 3),
    ],
)
def test_a_link_that_does_not_fit_says_so(wide: Page, link: str, says: str, made: int) -> None:
    wide.goto(f"{PAGE.as_uri()}#{link}")
    expect(wide.locator("#note")).to_contain_text(says)
    expect(wide.locator("#count")).to_contain_text(f"moves: {made},")
    wide.keyboard.press("B")
    expect(wide.locator("#note")).to_be_empty()


def test_undo_takes_back_one_move_and_again_all(page: Page) -> None:
    click(page, "AB")
    page.locator("#undo").click()
    expect(page.locator("#count")).to_contain_text("moves: 1, switches: 0")
    page.keyboard.press("b")
    page.keyboard.press("U")
    expect(page.locator("#steps li")).to_have_text(["A reads: 1 left, version 0."])
    page.keyboard.press("r")
    expect(page.locator("#steps li")).to_have_count(0)
    expect(page.locator("#undo")).to_have_attribute("aria-disabled", "true")


def test_a_link_holds_level_and_order_and_is_copied_by_a_button(page: Page, browser: Browser) -> None:
    to_level(page, MIDDLE)
    click(page, "tAA")
    page.locator("#copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{PAGE.as_uri()}#{MIDDLE}/tAA"
    expect(page.locator("#link")).to_have_value(copied)
    other = browser.new_page()
    other.goto(copied)
    expect(other.locator("#steps li")).to_have_count(3)
    expect(other.locator(f"#levels a[href='#{MIDDLE}']")).to_have_attribute("aria-current", "page")
    other.close()
    page.goto(f"{PAGE.as_uri()}#{FIRST}/ABnonsense")
    expect(page.locator("#count")).to_contain_text("moves: 2,")


def test_the_picture_shows_who_waits_and_what_the_document_holds(page: Page) -> None:
    to_level(page, "file-lock")
    click(page, "AB")
    expect(page.locator("#scene")).to_have_attribute("aria-label", re.compile("waits for the lock"))
    expect(page.locator("#moves button[data-token='B']")).to_have_attribute("aria-disabled", "true")
    page.locator("#moves button[data-token='B']").click(force=True)
    expect(page.locator("#count")).to_contain_text("moves: 2,")
    page.keyboard.press("A")
    page.keyboard.press("A")
    expect(page.locator("#scene")).to_have_attribute("aria-label", re.compile(r"left: 0\. 1 · sold to A · #1"))


def test_the_focus_stays_on_the_button_that_was_pressed(wide: Page) -> None:
    button = wide.locator("#moves button[data-token='A']")
    button.focus()
    for number in range(1, 4):
        wide.keyboard.press("Enter")
        expect(wide.locator("#count")).to_contain_text(f"moves: {number},")
        expect(button).to_be_focused()
    wide.keyboard.press("Enter")
    expect(button).to_be_focused()
    expect(wide.locator("#count")).to_contain_text("moves: 3,")
    assert name_of(wide, button) == "A is done A"


def test_hints_come_one_by_one(wide: Page) -> None:
    expect(wide.locator("#hints li")).to_have_count(0)
    wide.keyboard.press("h")
    expect(wide.locator("#hints li")).to_have_count(1)
    wide.locator("#hint").click()
    expect(wide.locator("#hints li")).to_have_count(2)
    expect(wide.locator("#hint")).to_have_attribute("aria-disabled", "true")


def test_the_arrows_and_the_next_button_change_the_level(wide: Page, recordings: dict[str, LevelRecording]) -> None:
    wide.keyboard.press("ArrowRight")
    expect(wide.locator("#level-title")).to_contain_text("2.")
    wide.keyboard.press("ArrowLeft")
    press(wide, best(recordings, FIRST))
    wide.get_by_role("button", name="Next level").click()
    expect(wide.locator("#level-title")).to_contain_text("2.")
    expect(wide.locator("#level-title")).to_be_focused()


def test_the_page_is_there_in_chinese_and_keeps_the_order(wide: Page, recordings: dict[str, LevelRecording]) -> None:
    to_level(wide, MIDDLE)
    press(wide, best(recordings, MIDDLE))
    wide.get_by_role("button", name="中文").click()
    expect(wide.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(wide.get_by_role("heading", name="弄坏了！")).to_be_visible()
    wide.keyboard.press("h")
    wide.keyboard.press("h")
    for level in LEVELS:
        wide.goto(f"{PAGE.as_uri()}?lang=zh#{level}/{best(recordings, level) if load()[level].winnable else 'AAB'}")
        expect(wide.locator(f"#levels a[href='#{level}']")).to_have_attribute("aria-current", "page")
        shown = re.sub(r"lastseat explore \S+ \S+", "", wide.locator("main").inner_text())
        english = set(re.findall(r"[A-Za-z]{3,}", shown)) - NO_CHINESE - set(re.findall("[a-z]+", load()[level].guard))
        assert english == set(), level
    wide.reload()
    expect(wide.locator("html")).to_have_attribute("lang", "zh-Hans")
    wide.get_by_role("button", name="English").click()
    wide.evaluate("localStorage.clear()")
    wide.reload()
    expect(wide.locator("html")).to_have_attribute("lang", "en")
    assert "?lang=en#" in wide.url, "the address says it, also where the browser keeps nothing"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_read(
    browser: Browser, recordings: dict[str, LevelRecording], scheme: str
) -> None:
    for page in opened(browser, viewport=NARROW, color_scheme=scheme):
        for level in (FIRST, "three-buyers", "kill-the-worker", LAST):
            to_level(page, level)
            click(page, "AB")
            page.keyboard.press("N")
            too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not page.evaluate(too_wide), level
            assert page.evaluate(FAINT) == [], level
            small = "[...document.querySelectorAll('button')].filter(b => b.getBoundingClientRect().height < 40).length"
            assert page.evaluate(small) == 0


def test_it_is_played_where_nothing_can_be_kept(browser: Browser, recordings: dict[str, LevelRecording]) -> None:
    for page in opened(browser, viewport=NARROW):
        page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})")
        page.reload()
        click(page, best(recordings, FIRST))
        expect(page.get_by_role("heading", name="Broken!")).to_be_visible()
