"""The page that a theatre sells from, while its office does not answer: a real gunicorn, ended and started again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from selling import address, buyers, may_buy, new_event
from typed import Typed

pytestmark = [pytest.mark.browser, pytest.mark.servers]


def test_an_office_that_does_not_answer_is_told_and_what_is_sent_meanwhile_is_not_lost(
    browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(locale="en-GB")
    with Typed("-k gthread --threads 4 service:app", tmp_path / "shop", LASTSEAT_EVENT="") as office:
        event = new_event(office)
        page.goto(address(office, event))
        expect(page.locator("#remaining")).to_have_text("6")
        expect(page.locator("#away")).to_be_hidden()
        office.end()
        told = re.compile(r"The office has not answered since \d\d:\d\d\. Nothing is lost: ")
        expect(page.locator("#away")).to_contain_text(told, use_inner_text=True, timeout=20_000)
        page.get_by_label("Your name").fill("Ann")
        may_buy(page).click()
        expect(page.locator("#unsent")).to_contain_text("The office did not answer. Nothing is lost")
        expect(page.get_by_label("Your name")).to_have_value("Ann")
        office.start()
        expect(page.locator("#away")).to_be_hidden(timeout=20_000)
        assert buyers(office, event) == []
        # Where it had been carried out and only the answer was lost, it would stand there: under the key of the form.
        form = {each: page.locator(f"form.buy [name={each}]").input_value() for each in ("event", "key", "quantity")}
        page.request.post(f"http://127.0.0.1:{office.port}/", form=form | {"do": "buy", "buyer": "Ann"})
        assert buyers(office, event) == ["Ann"]
        may_buy(page).click()
        expect(page.locator("#order")).to_be_visible()
        assert buyers(office, event) == ["Ann"]
    page.close()


def test_without_javascript_a_reload_of_what_the_browser_shows_instead_sends_the_form_again(
    browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(java_script_enabled=False)
    with Typed("-k gthread --threads 4 service:app", tmp_path / "shop", LASTSEAT_EVENT="") as office:
        event = new_event(office)
        page.goto(address(office, event))
        office.end()
        may_buy(page).click()
        expect(page.locator("#remaining")).to_have_count(0)
        office.start()
        page.reload()
        expect(page.locator("#order")).to_be_visible()
        assert len(buyers(office, event)) == 1
    page.close()
