"""The admin's page as a theatre uses it, in a real browser against a real gunicorn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from typed import CHECKOUT

from loadtests.lab.servers.office import RunningOffice, Service

pytestmark = [pytest.mark.browser, pytest.mark.servers]

Visit = Callable[[str], Page]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningOffice]:
    with RunningOffice(Service(worker="gthread", store="journal"), tmp_path / "office") as running:
        yield running


@pytest.fixture
def visit(browser: Browser, running: RunningOffice) -> Iterator[Visit]:
    """Opens a page for one more person; an error that a page logs fails the test."""
    errors: list[str] = []
    contexts = []

    def come(path: str) -> Page:
        context = browser.new_context(accept_downloads=True, timezone_id="Asia/Shanghai")
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{running.url}{path}")
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def admin(visit: Visit, running: RunningOffice) -> Page:
    """The admin's page, opened with the token, with an event of the studio's seats."""
    page = visit("/admin")
    page.get_by_label("Admin token").fill(running.office.token or "")
    page.get_by_role("button", name="Open", exact=True).click()
    page.get_by_label("Id").fill("friday")
    page.get_by_label("Name", exact=True).fill("Friday night")
    page.get_by_label("Sells").select_option(label="the seats of a studio")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#said")).to_contain_text("Event friday is made")
    return page


def counters(page: Page) -> dict[str, str]:
    names, values = (page.locator(f"#counters {each}").all_inner_texts() for each in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def buy(visit: Visit, *words: str) -> Page:
    page = visit("/?event=friday")
    for each in words:
        page.get_by_role("button", name=f"{each}, free", exact=True).click()
    page.get_by_role("button", name="Buy").click()
    expect(page.locator("#order")).to_be_visible()
    return page


def backup(running: RunningOffice) -> Path:
    """A copy of the data, made while the office serves."""
    script = [sys.executable, CHECKOUT / "examples/one-host/backup", running.data, running.folder / "backups"]
    return Path(subprocess.run(script, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()[0])


def restore(running: RunningOffice, copy: Path) -> None:
    """All of the data is lost, and comes back from the copy."""
    running.stop()
    shutil.rmtree(running.data)
    shutil.copytree(copy, running.data)
    running.start()


def kinds(running: RunningOffice) -> list[str]:
    return [json.loads(line)["kind"] for line in running.office.audit("friday").splitlines()[1:]]


def test_nobody_comes_in_without_the_token(visit: Visit) -> None:
    page = visit("/admin")
    page.get_by_label("Admin token").fill("a guess")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#said")).to_contain_text("The admin token is wrong")
    expect(page.locator("#managed")).to_be_hidden()


def test_a_theatres_evening(admin: Page, visit: Visit, running: RunningOffice, tmp_path: Path) -> None:
    """An event is made, sold and closed; its data is lost and restored; who comes is listed, one order refunded."""
    assert counters(admin) == {"Sale": "open", "Sold": "0", "Set aside": "0", "Left": "60", "Capacity": "60"}
    buy(visit, "stalls, row A, seat 6", "stalls, row A, seat 7")
    second = buy(visit, "stalls, row B, seat 1")
    order = second.locator("#order code").inner_text()
    admin.get_by_role("button", name="Close the sale now").click()
    expect(admin.locator("#said")).to_contain_text("The sale is closed")
    assert counters(admin)["Sale"].startswith("closed since")
    assert counters(admin)["Sold"] == "3"
    restore(running, backup(running))
    refused = admin.request.post(f"{running.url}/events/friday/orders", data={"quantity": 1})
    assert refused.json()["code"] == "doors_closed"
    admin.get_by_label("Find").fill("stalls-B-1")
    admin.get_by_role("button", name="Find").click()
    expect(admin.locator("#orders tbody tr")).to_have_count(1)
    admin.get_by_role("button", name=f"Cancel {order}").click()
    admin.get_by_label("Reason").fill("ill")
    admin.get_by_role("button", name="Cancel the order").click()
    expect(admin.locator("#orders tbody tr")).to_contain_text("cancelled: ill")
    with admin.expect_download() as saving:
        admin.get_by_role("button", name="List for the door").click()
    saving.value.save_as(tmp_path / "door.csv")
    lines = (tmp_path / "door.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == 2
    assert "stalls-A-6 stalls-A-7" in lines[1]
    admin.get_by_role("button", name="Open it now").click()
    expect(admin.locator("#said")).to_contain_text("The sale is open")
    assert kinds(running) == ["sold", "sold", "amended", "cancelled", "amended"]


def test_times_are_set_in_the_time_of_the_browser(admin: Page, running: RunningOffice) -> None:
    admin.get_by_label("Opens at").fill("2040-05-01T20:00")
    admin.get_by_role("button", name="Set these times").click()
    expect(admin.locator("#said")).to_contain_text("The times are set")
    assert json.loads(running.office.audit("friday").splitlines()[-1])["opens_at"] == "2040-05-01T12:00:00Z"
    expect(admin.get_by_label("Opens at")).to_have_value("2040-05-01T20:00")


def test_an_event_that_sells_numbers_is_made_larger_and_never_smaller_than_sold(admin: Page) -> None:
    admin.get_by_label("Id").fill("gala")
    admin.get_by_label("Sells").select_option("")
    admin.get_by_label("Tickets").first.fill("3")
    admin.get_by_role("button", name="Make it").click()
    expect(admin.get_by_label("Event", exact=True)).to_have_value("gala")
    admin.locator("#capacity").fill("5")
    admin.get_by_role("button", name="Change the capacity").click()
    expect(admin.locator("#said")).to_contain_text("The capacity is changed")
    assert counters(admin)["Left"] == "5"


def test_a_file_that_is_no_hall_makes_nothing(admin: Page, tmp_path: Path) -> None:
    for content, said in (("no json", "is no JSON"), ('{"sections":[]}', "not allowed")):
        (tmp_path / "hall.json").write_text(content)
        admin.get_by_label("Id").fill("nowhere")
        admin.get_by_label("Sells").select_option("file")
        admin.locator("#new-file").set_input_files(tmp_path / "hall.json")
        admin.get_by_role("button", name="Make it").click()
        expect(admin.locator("#said")).to_contain_text(said)
    assert admin.locator("#which option").all_inner_texts() == ["Friday night (friday)"]
