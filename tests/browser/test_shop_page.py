"""The page at / as a theatre sells from it: with JavaScript and without, in a real browser against a real gunicorn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looks import FAINT, name_of
from playwright.sync_api import Browser, Page, expect
from selling import address, buy, buyers, change, in_s, may_buy, new_event
from typed import TOKEN, Typed

pytestmark = [pytest.mark.browser, pytest.mark.servers]

OPERATORS_WORDS = re.compile(r"\b(?:lock|guard|epoch|store|version|verdict|lab|interface|curve)\b|/docs", re.IGNORECASE)
Visit = Callable[..., Page]
SCRIPTED = pytest.mark.parametrize("scripted", [True, False], ids=["with JavaScript", "without JavaScript"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    with Typed("-k gthread --threads 4 service:app", tmp_path_factory.mktemp("shop"), LASTSEAT_EVENT="") as shop:
        yield shop


@pytest.fixture
def event(shop: Typed) -> str:
    return new_event(shop)


@pytest.fixture
def visit(browser: Browser, shop: Typed, event: str) -> Iterator[Visit]:
    """Opens the event's page for one more person; an error that a page logs fails the test."""
    errors: list[str] = []
    contexts = []

    def come(scripted: bool = True, **how: Any) -> Page:
        name = how.pop("name", event)
        context = browser.new_context(java_script_enabled=scripted, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(address(shop, name))
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


# -- for buyers alone


@SCRIPTED
def test_nothing_for_operators_stands_on_the_page(visit: Visit, *, scripted: bool) -> None:
    page = visit(scripted)
    assert OPERATORS_WORDS.findall(page.content()) == []
    page.get_by_role("button", name="Set aside").click()
    expect(page.locator("#hold")).to_be_visible()
    assert OPERATORS_WORDS.findall(page.content()) == []
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#order")).to_be_visible()
    assert OPERATORS_WORDS.findall(page.content()) == []


def test_an_office_without_events_tells_buyers_so_and_operators_how_to_make_one(
    browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page()
    for kind, words in (("shop", "Nothing is for sale now"), ("lab", "No event yet")):
        variables = {"LASTSEAT_EVENT": "", "LASTSEAT_PAGE": kind}
        with Typed("service:app", tmp_path / kind, **variables) as office:
            page.goto(f"http://127.0.0.1:{office.port}")
            expect(page.get_by_role("heading", level=1)).to_have_text(words)
            assert bool(OPERATORS_WORDS.search(page.content())) == (kind == "lab")
    page.close()


# -- who buys


@SCRIPTED
def test_name_and_email_are_kept_for_the_admin_and_the_email_is_shown_to_nobody_else(
    visit: Visit, shop: Typed, event: str, *, scripted: bool
) -> None:
    page = visit(scripted)
    buy(page, "Ann Lee", "ann@example.org")
    expect(page.locator("#order")).to_be_visible()
    assert "ann@example.org" not in page.content() + page.url
    assert buyers(shop, event) == ["Ann Lee <ann@example.org>"]
    page.goto(address(shop, event))
    buy(page)
    expect(page.locator("#order")).to_be_visible()
    page.goto(address(shop, event))
    buy(page, email="bob@example.org")
    expect(page.locator("#order")).to_be_visible()
    assert sorted(buyers(shop, event), key=str) == ["<bob@example.org>", "Ann Lee <ann@example.org>", None]


def test_the_admins_page_lists_both(visit: Visit, shop: Typed, event: str) -> None:
    page = visit()
    buy(page, "Ann Lee", "ann@example.org")
    expect(page.locator("#order")).to_be_visible()
    page.goto(f"http://127.0.0.1:{shop.port}/admin")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_label("Event", exact=True).select_option(event)
    expect(page.locator("#orders")).to_contain_text("Ann Lee <ann@example.org>")


@SCRIPTED
@pytest.mark.parametrize("email", ["ann", "ann lee@example.org"])
def test_an_email_that_is_none_is_refused_in_words(
    visit: Visit, shop: Typed, event: str, email: str, *, scripted: bool
) -> None:
    page = visit(scripted)
    buy(page, "Ann", email)
    expect(page.locator("#email:invalid")).to_have_count(1)  # the browser keeps it
    page.locator("form.buy").evaluate("form => { form.noValidate = true }")
    page.locator("#email").evaluate("field => { field.type = 'text' }")  # and an old browser would not
    buy(page, "Ann", email)
    expect(page.locator("#problem")).to_contain_text("This is no e-mail address")
    assert buyers(shop, event) == []


@SCRIPTED
def test_the_limit_of_a_buyer_counts_by_name_and_email(visit: Visit, shop: Typed, *, scripted: bool) -> None:
    event = new_event(shop, max_per_buyer=1)
    page = visit(scripted, name=event)
    buy(page)
    expect(page.locator("#buyer:invalid")).to_have_count(1)
    buy(page, "Ann", "ann@example.org")
    expect(page.locator("#order")).to_be_visible()
    page.goto(address(shop, event))
    buy(page, "Ann", "ann@example.org")
    expect(page.locator("#problem")).to_contain_text("as many tickets as one buyer may have")
    buy(page, "Ann", "another@example.org")
    expect(page.locator("#order")).to_be_visible()


# -- my orders


def test_the_browser_keeps_what_was_bought_and_set_aside_over_a_restart_until_it_is_told_to_forget(
    browser: Browser, chromium_path: str, shop: Typed, event: str, tmp_path: Path
) -> None:
    def start() -> Any:
        return browser.browser_type.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu"]
        )

    with start() as context:
        page = context.pages[0]
        page.goto(address(shop, event))
        expect(page.locator("#mine")).to_be_hidden()
        buy(page)
        expect(page.locator("#mine li")).to_contain_text([f"Gala {event} bought: 1"])
        page.goto(address(shop, event))
        page.get_by_role("button", name="Set aside").click()
        expect(page.locator("#mine li")).to_contain_text(["set aside until", "bought: 1"])
    with start() as context:
        page = context.pages[0]
        page.goto(address(shop, event))
        expect(page.locator("#mine li")).to_contain_text(["set aside until", "bought: 1"])
        page.get_by_role("link", name=f"Gala {event}").nth(1).click()
        expect(page.locator("#order .number")).to_have_text("1")
        page.get_by_role("button", name="Give it back").click()
        page.get_by_role("button", name="Yes, give it back").click()
        expect(page.locator("#mine li")).to_contain_text(["set aside until", "cancelled: 1"])
        page.get_by_role("button", name=re.compile("Forget order")).click()
        page.goto(address(shop, event))
        expect(page.locator("#mine li")).to_contain_text(["set aside until"])
        expect(page.locator("#mine li")).to_have_count(1)


def test_another_browser_has_none_of_them_and_an_event_that_is_gone_is_said_to_be(
    visit: Visit, shop: Typed, event: str
) -> None:
    page = visit()
    buy(page)
    expect(page.locator("#mine li")).to_have_count(1)
    other = visit()
    expect(other.locator("#mine")).to_be_hidden()
    other.close()
    page.goto(address(shop, new_event(shop)))  # no page looks at the event any more, so that none logs that it is gone
    assert shop.call("DELETE", f"/events/{event}?even_if_sold=1").status == 204
    page.reload()
    expect(page.locator("#mine li")).to_contain_text("not known to the office any more")


def test_without_javascript_an_order_is_found_by_its_id(visit: Visit, shop: Typed, event: str) -> None:
    order = shop.buy(event).json["order"]
    page = visit(False)
    expect(page.locator("#mine")).to_be_hidden()
    page.get_by_label("Order", exact=True).fill(order)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#order .number")).to_have_text("1")


# -- the ticket on paper


def sheets(page: Page) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf()))


@SCRIPTED
def test_each_ticket_is_printed_on_a_sheet_of_its_own_and_a_cancelled_one_on_none(
    visit: Visit, shop: Typed, event: str, *, scripted: bool
) -> None:
    page = visit(scripted)
    page.get_by_label("Tickets").select_option("3")
    buy(page, "Ann Lee", "ann@example.org")
    expect(page.locator("#order")).to_be_visible()
    order = page.locator("#order code").inner_text()
    assert sheets(page) == 3
    page.emulate_media(media="print")
    expect(page.locator("main")).to_be_hidden()
    for number, ticket in enumerate(page.locator(".tickets article").all(), 1):
        expect(ticket.locator("svg path")).to_be_visible()
        assert ticket.inner_text().split("\n\n") == [f"Gala {event}", f"Ticket {number}", "Ann Lee", order]
    shop.call("DELETE", f"/events/{event}/orders/{order}")
    page.reload()
    assert page.locator("body").inner_text().strip() == ""
    assert sheets(page) == 1  # an empty one


def test_the_button_prints_and_is_there_only_with_javascript(visit: Visit, shop: Typed, event: str) -> None:
    page, plain = visit(), visit(False)
    for each in (page, plain):
        buy(each)
        expect(each.locator("#order")).to_be_visible()
    expect(plain.get_by_role("button", name="Print")).to_be_hidden()
    page.evaluate("() => { window.onbeforeprint = () => { document.title = 'printing' } }")
    page.get_by_role("button", name="Print").click()
    expect(page).to_have_title("printing")


# -- the doors


def test_the_page_opens_by_itself_at_the_moment_and_ends_by_itself(visit: Visit, shop: Typed, event: str) -> None:
    change(shop, event, opens_at=in_s(3600))
    page = visit()
    expect(page.locator("#doors")).to_contain_text("The sale opens at")
    expect(may_buy(page)).to_be_hidden()
    change(shop, event, opens_at=in_s(3))
    expect(may_buy(page)).to_be_visible(timeout=20_000)
    expect(page.locator("#doors")).to_be_hidden()
    buy(page)
    expect(page.locator("#order")).to_be_visible()
    change(shop, event, closes_at=in_s(0))
    expect(page.locator("#doors")).to_have_text("The sale has ended.", use_inner_text=True)
    expect(may_buy(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Give it back")).to_be_visible()


def test_without_javascript_the_doors_are_as_they_were_when_the_page_was_loaded(
    visit: Visit, shop: Typed, event: str
) -> None:
    page = visit(False)
    expect(may_buy(page)).to_be_visible()  # the negative control
    expect(page.locator("#doors")).to_be_hidden()
    for to, words in (
        ({"opens_at": in_s(3600)}, "The sale opens at"),
        ({"opens_at": None, "closes_at": in_s(0)}, "The sale has ended."),
    ):
        change(shop, event, **to)
        page.reload()
        expect(page.locator("#doors")).to_contain_text(words, use_inner_text=True)
        expect(may_buy(page)).to_be_hidden()


@SCRIPTED
def test_sold_out_is_said_and_changes_when_seats_come_back(
    visit: Visit, shop: Typed, event: str, *, scripted: bool
) -> None:
    page = visit(scripted)
    expect(may_buy(page)).to_be_visible()
    order = shop.buy(event, 6).json["order"]
    if not scripted:
        page.reload()
    expect(page.locator("#doors")).to_contain_text("Sold out", use_inner_text=True)
    expect(may_buy(page)).to_be_hidden()
    shop.call("DELETE", f"/events/{event}/orders/{order}")
    if not scripted:
        page.reload()
    expect(may_buy(page)).to_be_visible()
    expect(page.locator("#doors")).to_be_hidden()


# -- the question


@SCRIPTED
@pytest.mark.parametrize("what", ["order", "hold"])
def test_tickets_are_given_back_only_after_a_question(
    visit: Visit, shop: Typed, event: str, what: str, *, scripted: bool
) -> None:
    page = visit(scripted)
    page.get_by_label("Tickets").select_option("2")
    page.get_by_role("button", name="Buy" if what == "order" else "Set aside").click()
    expect(page.locator(f"#{what}")).to_be_visible()
    for answer, left in (("No, keep them", "4"), ("Yes, give them back", "6")):
        expect(page.locator("#question")).to_be_hidden()
        page.get_by_role("button", name="Give them back", exact=True).click()
        expect(page.get_by_role("dialog", name="Give 2 tickets back?")).to_be_visible()
        assert shop.call("GET", f"/events/{event}").json["remaining"] == 4
        page.get_by_role("button", name=answer).click()
        expect(page.locator("#question")).to_be_hidden()
        expect(page.locator("#remaining")).to_have_text(left)


# -- times


@SCRIPTED
def test_times_are_the_browsers_own_and_utc_is_named_where_they_cannot_be(
    visit: Visit, shop: Typed, event: str, *, scripted: bool
) -> None:
    change(shop, event, opens_at="2099-01-01T12:00:00+02:00")
    page = visit(scripted, timezone_id="Asia/Tokyo", locale="en-GB")
    words = "1 January 2099 at 19:00." if scripted else "01 January 2099, 10:00 UTC."
    expect(page.locator("#doors")).to_contain_text(words, use_inner_text=True)
    change(shop, event, opens_at="2099-01-02T10:00:00Z")
    if scripted:
        expect(page.locator("#doors")).to_contain_text("2 January 2099 at 19:00.", use_inner_text=True)


# -- seats


def test_seats_are_bought_from_the_map_and_who_comes_second_is_told(visit: Visit, shop: Typed) -> None:
    event = new_event(shop, capacity=None, hall={"sections": [{"name": "stalls", "rows": 1, "seats": 5}]})
    ann, bob = visit(name=event), visit(name=event)
    for page in (ann, bob):
        page.get_by_role("button", name="stalls, row A, seat 2, free").click()
    buy(ann, "Ann", "ann@example.org")
    expect(ann.locator("#order .number")).to_have_text("stalls-A-2")
    expect(ann.locator(".tickets .place")).to_have_text("Seat stalls-A-2")
    expect(bob.locator("#faster")).to_contain_text("Somebody was faster: stalls-A-2 is taken.")
    bob.get_by_role("button", name="Take stalls-A-1").click()
    buy(bob, "Bob")
    expect(bob.locator("#order .number")).to_have_text("stalls-A-1")
    assert sorted(map(str, buyers(shop, event))) == ["Ann <ann@example.org>", "Bob"]


# -- how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everything_can_be_read_and_has_a_name_and_nothing_is_wider_than_the_screen(
    visit: Visit, *, scheme: Any, width: int
) -> None:
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    buy(page, "Ann", "ann@example.org")
    expect(page.locator("#mine li")).to_contain_text("bought: 1")
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_role("dialog", name="Give the ticket back?")).to_be_visible()
    for shown in ("#question", "body"):  # while the question is asked, the rest of the page is out of reach
        assert page.evaluate(FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        for control in page.locator(shown).locator("input:not([type=hidden]), select, button, a, section").all():
            if control.is_visible():
                assert name_of(page, control), control.evaluate("each => each.outerHTML")
        page.keyboard.press("Escape")
        expect(page.locator("#question")).to_be_hidden()
