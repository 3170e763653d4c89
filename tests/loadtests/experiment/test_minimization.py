"""Which of several faults are enough to break a sale."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtests.lab.experiment.minimization import fewest


@given(st.sets(st.integers(0, 7), min_size=1))
def test_what_is_needed_together_is_found_and_nothing_else(needed: set[int]) -> None:
    found = fewest(range(8), lambda tried: needed <= set(tried), most=1000)
    assert found == sorted(needed)


def test_what_breaks_without_any_needs_none() -> None:
    assert fewest("abc", lambda _tried: True) == []


def test_no_set_is_asked_about_twice_and_the_questions_are_bounded() -> None:
    asked: list[str] = []

    def breaks(tried: list[str]) -> bool:
        asked.append("".join(tried))
        return {"a", "h"} <= set(tried)

    found = fewest("abcdefgh", breaks, most=5)
    assert len(asked) == len(set(asked)) == 5
    assert {"a", "h"} <= set(found)
    assert len(found) < 9


def test_where_no_smaller_one_breaks_it_again_all_are_kept() -> None:
    assert fewest("abcd", lambda _tried: False) == list("abcd")
