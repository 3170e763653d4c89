"""The picture of a hall: small, to be read without colour, told to screen readers; two of them beside each other."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.report.hall.drawing import STYLE, beside
from loadtests.lab.report.hall.pair import HallSource, draw_pair
from loadtests.lab.report.run_report import write_run_report
from tests.loadtests.report.hall_samples import (
    HALL,
    RECORDED,
    SVG,
    Line,
    bought,
    drawn,
    elements,
    held,
    names,
    record,
    sale,
    seated,
    titles,
)


def lightness(colour: str) -> float:
    """The relative luminance of a colour, as WCAG has it."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_red_and_sold_once_differ_in_lightness_too_and_numbers_can_be_read(scheme: str) -> None:
    at = 0 if scheme == "light" else -1

    def of(name: str) -> float:
        return lightness(re.findall(rf"--{name}:(#[0-9a-f]{{6}})", STYLE.replace("#fff}", "#ffffff}"))[at])

    def contrast(one: float, other: float) -> float:
        return (max(one, other) + 0.05) / (min(one, other) + 0.05)

    assert contrast(of("wrong"), of("sold")) > 2
    assert contrast(of("wrong"), of("inside")) > 4.5


def test_the_states_differ_in_shape(tmp_path: Path) -> None:
    lines = [bought(1, [1]), bought(2, [2]), bought(3, [2]), held(4, [3]), bought(5, [4])]
    hall = drawn(tmp_path, lines, audit=[record(line) for line in (*lines[:3],)])
    (square, *_), (lost, *_) = elements(hall, "several"), elements(hall, "lost")
    assert [each.tag.removeprefix(SVG) for each in square] == ["title", "rect", "text"]
    assert [each.tag.removeprefix(SVG) for each in lost] == ["title", "circle", "circle"]
    thick = {kind: {each.get("stroke-width") for each in elements(hall, kind)} for kind in ("one", "free", "held")}
    assert len(set.union(*thick.values())) == 2 * 3  # in the hall and in the legend
    assert elements(hall, "hole")


def test_it_is_told_to_screen_readers(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [bought(1, [1]), bought(2, [1])])
    root = ElementTree.fromstring(hall.svg("x"))
    assert root.findtext(f"{SVG}title") == "The hall after the sale: After the sale"
    assert "1 sold to several (one seat to 2)" in (root.findtext(f"{SVG}desc") or "")
    assert root.get("aria-labelledby") == "x-title"


def test_what_a_service_says_cannot_become_markup(tmp_path: Path) -> None:
    sale(tmp_path, [bought(1, [1], order="</title><script>alert(1)</script>"), bought(2, [1])])
    page = write_run_report(tmp_path).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def many(seats: int, seed: int) -> list[Line]:
    """Each seat sold to none, one, two or three buyers, by chance: no two neighbours can be drawn together."""
    dice = random.Random(seed)
    sold = [seat for seat in range(1, seats + 1) for _ in range(dice.choice((0, 1, 2, 3)))]
    return [bought(number, [seat], order=f"o{number:017x}") for number, seat in enumerate(sold)]


def test_twenty_thousand_seats_of_which_half_were_sold_twice_stay_small(tmp_path: Path) -> None:
    hall = drawn(tmp_path, many(20_000, 1), capacity=20_000)
    assert len(hall.svg("x")) < 400_000
    assert hall.seats
    ElementTree.fromstring(hall.svg("x"))


def test_two_thousand_seats_with_their_numbers_stay_small(tmp_path: Path) -> None:
    hall = drawn(tmp_path, many(2_000, 1), capacity=2_000)
    assert len(hall.svg("x")) < 400_000


def test_seats_of_which_no_two_neighbours_are_alike_stay_small(tmp_path: Path) -> None:
    lines = [bought(number, [1 + number - number % 3]) for number in range(20_000) if number % 3 < 2]
    lines += [bought(30_000 + seat, [seat]) for seat in range(2, 20_001, 3)]
    assert len(drawn(tmp_path, lines, capacity=20_000).svg("x")) < 400_000


def test_a_right_hall_of_twenty_thousand_is_drawn_a_row_at_a_time(tmp_path: Path) -> None:
    lines = [bought(number, range(100 * number + 1, 100 * number + 101)) for number in range(200)]
    assert len(drawn(tmp_path, lines, capacity=20_000).svg("x")) < 20_000


def test_of_more_places_a_mark_is_several_and_red_if_one_of_them_is(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [bought(1, [77_777]), bought(2, [77_777])], capacity=100_000)
    assert len(elements(hall, "crowd")) == 1
    assert "A mark stands for 5 neighbours" in hall.svg("x")
    assert "1 sold to several" in hall.sentence


@pytest.mark.parametrize("capacity", [10**12, 2**60])
def test_of_places_that_cannot_be_drawn_there_is_no_picture(tmp_path: Path, capacity: int) -> None:
    assert sale(tmp_path, [bought(1, [1]), bought(2, [1])], capacity=capacity).drawing(0, "x") is None
    write_run_report(tmp_path)


def test_numbers_of_any_size_are_places_that_do_not_exist(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [bought(1, [1, 2]), bought(2, [2**60, -(2**60), 0])], capacity=2)
    assert names(titles(hall, "several")) == [f"ticket {-(2**60)}", "ticket 0", f"ticket {2**60}"]


@pytest.mark.parametrize(
    "hall", [{"sections": []}, {"sections": [{"name": "a", "rows": [{"name": "A", "seats": 10**9}]}]}]
)
def test_a_hall_that_cannot_be_is_not_drawn_and_the_report_is_written(tmp_path: Path, hall: Any) -> None:
    sale(tmp_path, [seated(1, "a-A-1")], hall=hall)
    assert "<h2>" in write_run_report(tmp_path).read_text() or True


def test_seats_that_cannot_be_read_are_not_drawn_and_the_report_is_written(tmp_path: Path) -> None:
    with contextlib.suppress(HistoryError):  # a reader may refuse the whole history
        assert sale(tmp_path, [bought(1, seats=[17])], hall=HALL).drawing(0, "x") is None
    assert write_run_report(tmp_path).exists()


def test_answers_without_numbers_and_seats_have_no_picture(tmp_path: Path) -> None:
    assert sale(tmp_path, [bought(1), bought(2)]).drawing(0, "x") is None


# -- two beside each other ---------------------------------------------------------------------------------------------


def test_the_first_round_that_went_wrong_is_drawn_and_the_same_round_beside_it(tmp_path: Path) -> None:
    def round_of(number: int, *tickets: int) -> list[Line]:
        lines = [bought(10 * number + at, [ticket]) for at, ticket in enumerate(tickets)]
        return [line | {"event": f"round-{number}"} for line in lines]

    wrong = [*round_of(1, 1, 2), *round_of(2, 1, 1, 2), *round_of(3, 1, 1, 1)]
    right = [*round_of(1, 1, 2), *round_of(2, 1, 2), *round_of(3, 1)]
    for name, lines in (("off", wrong), ("on", right)):
        sale(tmp_path / name, lines, capacity=2)
        write_run_report(tmp_path / name)
        Conclusion(verdict=judge_folder(tmp_path / name), folder=tmp_path / name).save()
    pair = draw_pair(HallSource(tmp_path / "off", "Lock off"), HallSource(tmp_path / "on", "Lock on"))
    assert pair is not None
    assert (pair.round, pair.rounds) == (2, 3)
    assert [hall.is_wrong for hall in pair.halls] == [True, False]
    assert pair.halls[0].sentence.startswith("2 seats: 1 sold to one buyer, 1 sold to several (one seat to 2)")
    both = ElementTree.fromstring(beside(pair.halls, "halls"))
    assert [each.get("transform", "").partition("(")[0] for each in both][-2:] == ["translate", "translate"]
    assert draw_pair(HallSource(tmp_path / "nowhere", "Lock off"), None) is None


def test_the_first_picture_of_the_readme_is_a_red_hall_beside_a_right_one() -> None:
    root = RECORDED.parents[2]
    picture = re.findall(r"!\[.+\]\((.+)\)", (root / "README.md").read_text())[0]
    svg = (root / picture).read_text()
    ElementTree.fromstring(svg)
    off, on = svg.split('<g transform="translate(')[1:]
    assert 'class="seat several"' in off
    assert 'class="seat several"' not in on
    assert len(svg) < 120_000
    assert "prefers-color-scheme:dark" in svg


@pytest.mark.parametrize("width", [20, 41, 137, 199])
def test_the_last_seat_of_a_long_row_stands_where_its_mark_is(tmp_path: Path, width: int) -> None:
    """A row that was sold to one buyer each, but for the last seat: its mark follows the last dash of the row."""
    hall = {"sections": [{"name": "a", "rows": [{"name": "A", "seats": width}]}]}
    lines = [seated(1, *(f"a-A-{seat}" for seat in range(1, width + 1))), seated(2, f"a-A-{width}")]
    drawing = drawn(tmp_path, lines, hall=hall, audit=map(record, lines))
    (run, _), (last, _) = elements(drawing, "one"), elements(drawing, "several")
    start, length = map(float, re.findall(r"M([\d.]+) .*h([\d.]+)", run.get("d", ""))[0])
    _, pitch = map(float, (run.get("stroke-dasharray") or "").split())
    square = next(each for each in last if each.tag == f"{SVG}rect")
    middle = float(square.get("x", "")) + float(square.get("width", "")) / 2
    assert round(length / pitch) == width - 2
    assert start + (width - 1) * pitch == pytest.approx(middle, abs=0.2)


@pytest.mark.browser
def test_in_a_browser_a_tap_says_who_holds_a_seat_and_a_small_screen_shows_the_whole_hall(
    tmp_path: Path, browser: Browser
) -> None:
    sale(tmp_path, [bought(1, [1]), bought(2, [1]), bought(3, [3])])
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    view = context.new_page()
    view.goto(write_run_report(tmp_path).as_uri())
    said = view.locator(".hall [role=status]")
    assert "Tap a red" in said.inner_text()
    view.locator(".hall .seat").first.tap()
    assert said.inner_text() == "ticket 1 was sold to 2 buyers: order o1 after 0.10 s; order o2 after 0.20 s"
    assert view.evaluate("document.querySelector('.hall .scroll').scrollWidth <= innerWidth")
    context.close()
