"""How many later buyers overtook each purchase."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.lab.experiment.fairness import bypass_counts


def counted_one_by_one(sent: list[int], decided: list[int]) -> list[int]:
    pairs = list(zip(sent, decided, strict=True))
    return [sum(s > mine and d < turn for s, d in pairs) for mine, turn in pairs]


@pytest.mark.parametrize(
    ("decided", "counts"),
    [
        ([1, 2, 3, 4], [0, 0, 0, 0]),
        ([4, 1, 2, 3], [3, 0, 0, 0]),
        ([4, 3, 2, 1], [3, 2, 1, 0]),
        ([2, 2, 1, 2], [1, 1, 0, 0]),
    ],
    ids=["first come, first served", "the first is served last", "last come, first served", "two in one batch"],
)
def test_a_purchase_is_overtaken_by_who_was_sent_later_and_decided_earlier(
    decided: list[int], counts: list[int]
) -> None:
    assert bypass_counts(np.arange(4), np.array(decided)).tolist() == counts


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=40))
def test_the_counts_are_those_of_comparing_everybody_with_everybody(moments: list[tuple[int, int]]) -> None:
    sent, decided = [each[0] for each in moments], [each[1] for each in moments]
    found = bypass_counts(np.array(sent, np.int64), np.array(decided, np.int64))
    assert found.tolist() == counted_one_by_one(sent, decided)
