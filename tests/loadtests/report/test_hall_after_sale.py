"""The hall after a sale: red where a seat was sold to several buyers, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.history.synthetic import draw, write
from loadtests.lab.report.hall.plan import plan_of_seats
from loadtests.lab.report.hall.recorded import RecordedSale
from tests.loadtests.report.hall_samples import (
    HALL,
    RECORDED,
    SVG,
    bought,
    cancelled,
    dots,
    drawn,
    elements,
    held,
    names,
    record,
    seated,
    titles,
)


def test_each_number_that_was_sold_twice_is_red_and_no_other(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [bought(1, [1, 2]), bought(2, [2, 3]), bought(3, [3]), bought(4, [2, 5])])
    assert names(titles(hall, "several")) == ["ticket 2", "ticket 3"]
    assert [each.findtext(f"{SVG}text") for each in elements(hall, "several")[:2]] == ["3", "2"]
    assert hall.is_wrong
    assert (dots(hall, "one"), dots(hall, "free")) == (2, 6)
    assert hall.sentence.startswith("10 seats: 2 sold to one buyer, 2 sold to several (one seat to 3), 6 free.")


def test_each_seat_of_a_hall_that_was_sold_twice_is_red_and_no_other(tmp_path: Path) -> None:
    lines = [seated(1, "stalls-A-1", "stalls-A-2"), seated(2, "stalls-B-1"), seated(3, "stalls-A-2", "balcony-A-5")]
    hall = drawn(tmp_path, lines, capacity=15, hall=HALL, audit=map(record, lines))
    assert names(titles(hall, "several")) == ["stalls-A-2"]
    assert (dots(hall, "one"), dots(hall, "free")) == (3, 11)
    texts = ["".join(each.itertext()) for each in elements(hall, "names")[0]]
    assert texts == ["stalls", "A", "B", "balcony", "A"]


def test_who_holds_a_seat_and_since_when_is_said_at_it(tmp_path: Path) -> None:
    lines = [seated(1, "stalls-A-2"), seated(3, "stalls-A-2"), seated(8, "stalls-B-6")]
    hall = drawn(tmp_path, lines, capacity=15, hall=HALL, audit=map(record, lines[1:]))
    assert titles(hall, "several") == [
        "stalls-A-2 was sold to 2 buyers: order o1 after 0.10 s (lost); order o3 after 0.30 s"
    ]


def test_a_hall_that_was_sold_right_has_no_red(tmp_path: Path) -> None:
    lines = [bought(1, range(1, 8)), bought(2, range(8, 11))]
    hall = drawn(tmp_path, lines, audit=map(record, lines))
    assert not hall.is_wrong
    assert (hall.seats, elements(hall, "several"), elements(hall, "crowd"), elements(hall, "alarm")) == ([], [], [], [])
    assert dots(hall, "one") == 10


@pytest.mark.parametrize("cancel", ["ok", "unknown"])
def test_a_seat_that_was_given_back_or_may_have_been_and_sold_again_is_not_red(tmp_path: Path, cancel: str) -> None:
    lines = [seated(1, "stalls-A-2"), seated(3, "stalls-A-2")]
    audit = [record(line) for line in lines]
    assert drawn(tmp_path / "twice", lines, hall=HALL, audit=audit).is_wrong
    hall = drawn(tmp_path / "again", [*lines, cancelled(2, "o1", cancel)], hall=HALL, audit=audit)
    assert not hall.is_wrong
    assert dots(hall, "one") == 1


def test_a_repeated_answer_is_no_second_buyer(tmp_path: Path) -> None:
    first = bought(1, [1])
    again = bought(2, [1]) | {"key": "k1", "order": "o1", "attempt": 2, "replayed": True}
    assert not drawn(tmp_path, [first, again]).is_wrong


def test_numbers_beyond_the_capacity_are_places_that_do_not_exist(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [bought(1, [1, 2, 3]), bought(2, [4]), bought(3, [5]), bought(4, [5])], capacity=3)
    assert names(titles(hall, "several")) == ["ticket 4", "ticket 5"]
    assert "2 places sold that do not exist" in hall.sentence
    assert [each.findtext(f"{SVG}text") for each in elements(hall, "several")[:2]] == ["1", "2"]


def test_the_number_after_the_last_has_the_place_of_a_ticket_that_was_given_back(tmp_path: Path) -> None:
    lines = [bought(1, [1, 2]), bought(2, [3]), bought(4, [4])]
    assert drawn(tmp_path / "oversold", lines, capacity=3).is_wrong
    hall = drawn(tmp_path / "given back", [*lines, cancelled(3, "o2")], capacity=3)
    assert not hall.is_wrong
    assert (dots(hall, "one"), dots(hall, "free")) == (3, 0)


def test_the_number_after_the_last_has_the_place_of_no_open_hold_as_long_as_there_is_another(tmp_path: Path) -> None:
    lines = [held(1, [1]), bought(2, [2, 3]), cancelled(3, "o2"), bought(4, [4])]
    hall = drawn(tmp_path, lines, capacity=3)
    assert [dots(hall, kind) for kind in ("held", "one", "free")] == [1, 1, 1]


def test_a_seat_that_is_in_no_hall_does_not_exist(tmp_path: Path) -> None:
    hall = drawn(tmp_path, [seated(1, "stalls-A-1"), seated(2, "stalls-Z-1")], hall=HALL)
    assert names(titles(hall, "several")) == ["stalls-Z-1"]


def test_a_seat_that_is_set_aside_is_so_until_the_hold_ends(tmp_path: Path) -> None:
    lines = [bought(1, [1]), held(2, [2, 3]), held(3, [4])]
    assert dots(drawn(tmp_path / "open", lines), "held") == 3
    confirmed = bought(5, [4], hold="h3") | {"op": "confirm"}
    assert dots(drawn(tmp_path / "confirmed", [*lines, confirmed]), "held") == 2
    expired = {"kind": "expired", "key": None, "hold": "h2", "quantity": 2, "tickets": [2, 3]}
    kept = [{"kind": "held", "key": "k2", "hold": "h2", "quantity": 2, "tickets": [2, 3]}, expired]
    assert dots(drawn(tmp_path / "expired", lines, audit=[record(lines[0]), *kept]), "held") == 1


def test_orders_that_the_audit_lacks_are_dashed_where_there_is_an_audit(tmp_path: Path) -> None:
    lines = [bought(1, [1]), bought(2, [2]), bought(3, [3])]
    assert titles(drawn(tmp_path / "no audit", lines), "lost") == []
    hall = drawn(tmp_path / "audit", lines, audit=[record(lines[0]), record(lines[2])])
    assert titles(hall, "lost") == ["ticket 2 was sold to order o2 after 0.20 s (lost)"]
    assert len(elements(hall, "gone")) == 2  # the other is in the legend
    assert "1 confirmed order is missing in the office's list" in hall.sentence
    assert not hall.is_wrong
    assert [each.text for each in elements(hall, "alarm")] == ["1 confirmed order is missing in the office's list"]


def test_seats_that_buyers_chose_at_a_service_without_a_hall_are_in_rows_too(tmp_path: Path) -> None:
    lines = [bought(1, seat="B10"), bought(2, seat="B9"), bought(3, seat="B9")]
    assert [row.labels for row in plan_of_seats(["B10", "B9", "A1"]).rows] == [("A1", "B9", "B10")]
    assert names(titles(drawn(tmp_path, lines), "several")) == ["B9"]


@pytest.mark.parametrize("folder", sorted((RECORDED / "valid").iterdir()), ids=lambda folder: folder.name)
def test_no_hall_of_a_valid_history_is_red(folder: Path) -> None:
    recorded = RecordedSale(folder, judge_folder(folder))
    for at in range(len(recorded.events)):
        hall = recorded.drawing(at, "After the sale")
        assert hall is None or not hall.is_wrong


@pytest.mark.parametrize("seed", range(3))
def test_no_hall_of_a_long_valid_history_with_holds_and_lost_answers_is_red(tmp_path: Path, seed: int) -> None:
    write(tmp_path, draw(6_000, clients=16, seed=seed, holds=0.3, retries=0.1, unknown=0.1))
    verdict = judge_folder(tmp_path)
    hall = RecordedSale(tmp_path, verdict).drawing(0, "After the sale")
    assert verdict.verdict == "valid"
    assert hall is not None
    assert not hall.is_wrong


def test_the_halls_of_recorded_races_are_red() -> None:
    for folder in (RECORDED / "invalid").glob("recorded_from_*"):
        hall = RecordedSale(folder, judge_folder(folder)).drawing(0, "Lock off")
        assert hall is not None
        assert titles(hall, "several")
