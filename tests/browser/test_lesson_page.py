"""A lesson's page in a real browser: on a small screen, on a projector, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from workers.lessons import load
from workers.lessons.common.lesson import run_lesson
from workers.lessons.common.pages import write_pages

pytestmark = [pytest.mark.browser, pytest.mark.servers]

A4_PX = 672
"""The width of the text on a sheet of A4 with the page's margins, in CSS pixels."""


@pytest.fixture(scope="module", params=["en", "zh"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lesson") / "page.html"
    lesson = load("mutex").told_in(request.param)
    write_pages(path, lesson, run_lesson(lesson, {"rewrites": 20}))
    return path


@pytest.fixture
def opened(browser: Browser, written: Path) -> Iterator[Page]:
    """The page, open; a request for anything but the page and its answers fails the test."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written.as_uri())
    yield page
    assert {Path(url).name for url in asked} <= {"page.html", "page-answers.html"}
    context.close()


def _too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen_and_what_is_wider_scrolls_by_itself(opened: Page, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    assert not _too_wide(opened)
    plot = opened.locator(".plot .scroll").first
    wider = plot.evaluate("box => box.scrollWidth > box.clientWidth")
    assert wider == (width == 390)
    assert plot.get_attribute("tabindex") == "0"


def test_on_a_projector_the_letters_are_large(opened: Page) -> None:
    sizes = []
    for width in (390, 1280):
        opened.set_viewport_size({"width": width, "height": 800})
        sizes.append(opened.evaluate("parseFloat(getComputedStyle(document.querySelector('#questions li')).fontSize)"))
    assert sizes[1] >= 20
    assert sizes[1] > sizes[0]


def test_printed_it_is_black_on_white_and_no_picture_is_cut(opened: Page) -> None:
    opened.emulate_media(media="screen")
    dark = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    opened.emulate_media(media="print")
    opened.set_viewport_size({"width": A4_PX, "height": 900})
    ground, ink = opened.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (ground, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert dark != ground
    assert not _too_wide(opened)
    cut = opened.evaluate(
        "[...document.querySelectorAll('.scroll, pre')].filter(box => box.checkVisibility())"
        ".filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.slice(0, 40))"
    )
    assert cut == []
    for plot in opened.locator(".plot").all():
        assert plot.evaluate("plot => getComputedStyle(plot).breakInside") == "avoid"
    expect(opened.locator("details")).to_be_hidden()
    expect(opened.locator("#questions a")).to_be_hidden()
    assert opened.pdf(format="A4").startswith(b"%PDF")


def test_the_answers_are_reached_from_the_page_and_lead_back(opened: Page) -> None:
    asked = opened.locator("#questions li").all_inner_texts()
    opened.locator("#questions a").click()
    assert opened.locator(".ask").all_inner_texts() == asked
    opened.locator("main a").click()
    expect(opened.locator("#measured")).to_be_visible()
