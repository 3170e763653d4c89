"""The lab's own reading of a hall: its order, its neighbours, what is best in it, and its maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.lab.protocol.halls import FREE, HELD, MOST_SEATS, SOLD, Hall, HallError


def canonical(*sections: tuple[str, list[int]]) -> dict[str, Any]:
    """Sections by name, each with the widths of its rows A, B, C …"""
    return {
        "sections": [
            {"name": name, "rows": [{"name": chr(65 + at), "seats": width} for at, width in enumerate(widths)]}
            for name, widths in sections
        ]
    }


HALL = Hall.of(canonical(("stalls", [4, 5]), ("balcony", [3])))


def test_a_seats_index_is_its_place_in_the_halls_order() -> None:
    assert len(HALL) == 12
    assert HALL.ids[3:6] == ("stalls-A-4", "stalls-B-1", "stalls-B-2")
    assert HALL.index["balcony-A-3"] == 11
    assert HALL.section("balcony") == (9, 12)
    assert HALL.section(None) == (0, 12)
    assert HALL.row_of.tolist() == [0] * 4 + [1] * 5 + [2] * 3
    assert HALL.section_of.tolist() == [0] * 9 + [1] * 3


def test_the_best_seat_is_nearest_to_the_middle_of_the_first_row() -> None:
    best_first = sorted(range(len(HALL)), key=lambda seat: HALL.rank[seat])
    assert [HALL.ids[seat] for seat in best_first] == [
        "stalls-A-2", "stalls-A-3", "stalls-A-1", "stalls-A-4",
        "stalls-B-3", "stalls-B-2", "stalls-B-4", "stalls-B-1", "stalls-B-5",
        "balcony-A-2", "balcony-A-1", "balcony-A-3",
    ]  # fmt: skip


def test_neighbours_are_in_one_row() -> None:
    assert HALL.are_neighbours([2, 1])
    assert HALL.are_neighbours([7])
    assert not HALL.are_neighbours([3, 4])
    assert not HALL.are_neighbours([0, 2])
    assert not HALL.are_neighbours([1, 1])


def test_the_best_together_are_in_the_first_row_that_has_room() -> None:
    free = np.ones(len(HALL), np.bool_)
    assert HALL.best(free, 2, together=True, section=None) == [1, 2]
    free[1] = False
    assert HALL.best(free, 2, together=True, section=None) == [2, 3]
    assert HALL.best(free, 3, together=True, section=None) == [5, 6, 7]
    assert HALL.best(free, 3, together=False, section=None) == [0, 2, 3]
    assert HALL.best(free, 2, together=True, section="balcony") == [9, 10]
    assert HALL.best(free, 6, together=True, section=None) is None
    assert HALL.best(free, 4, together=False, section="balcony") is None


def test_a_map_has_two_bits_a_seat() -> None:
    states = np.array([FREE, HELD, SOLD, FREE, SOLD] + [FREE] * 7, np.uint8)
    assert HALL.packed(states) == "GIAA"
    assert HALL.states("GIAA").tolist() == states.tolist()


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.data())
def test_a_map_is_read_as_it_was_written(widths: list[int], data: st.DataObject) -> None:
    hall = Hall.of(canonical(("s", widths)))
    states = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(hall), max_size=len(hall))), np.uint8)
    assert hall.states(hall.packed(states)).tolist() == states.tolist()


@pytest.mark.parametrize("packed", ["", "GIA", "GIAAGIAA", "wwAA", "?", "é"])
def test_a_map_that_is_none_is_refused(packed: str) -> None:
    with pytest.raises(HallError, match="map"):
        HALL.states(packed)


def test_a_map_with_something_behind_its_last_seat_is_refused() -> None:
    with pytest.raises(HallError, match="behind its last seat"):
        Hall.of(canonical(("s", [3]))).states("AQ==")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "no hall"),
        ({"sections": []}, "no section"),
        ({"sections": [{"name": "s", "rows": []}]}, "no row"),
        ({"sections": [{"name": "s", "rows": [{"name": "A"}]}]}, "missing required field `seats`"),
        ({"sections": [{"name": "s", "rows": 3, "seats": 4}]}, r"\$.sections\[0\].rows"),
        (canonical(("s", [3, 0])), "row B of the section s has 0 seats"),
        (canonical(("s", [MOST_SEATS, 1])), "has 1 seats"),
        (canonical(("s", [1]), ("s", [1])), "two sections are named s"),
        ({"sections": [{"name": "s", "rows": [{"name": "A", "seats": 1}] * 2}]}, "two rows named A"),
        (
            {
                "sections": [
                    {"name": "a-b", "rows": [{"name": "c", "seats": 2}]},
                    {"name": "a", "rows": [{"name": "b-c", "seats": 1}]},
                ]
            },
            "two seats have the id a-b-c-1",
        ),
    ],
)
def test_what_is_no_hall_is_refused_with_the_reason(told: object, why: str) -> None:
    with pytest.raises(HallError, match=why):
        Hall.of(told)


def test_a_section_that_the_hall_does_not_have_is_named() -> None:
    with pytest.raises(HallError, match="no section pit"):
        HALL.section("pit")
