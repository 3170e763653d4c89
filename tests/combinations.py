"""Many cases of one test: ``make test`` runs a few of them, ``make soak`` runs the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def shortened(cases: Iterable[Any], *always: Any) -> list[Any]:
    """All ``cases``, for ``pytest.mark.parametrize``: those that are not in ``always`` are of ``make soak`` alone."""
    cases = list(cases)
    assert all(each in cases for each in always), "a case that is to run always is none of the cases"
    return [each if each in always else _in_soak(each) for each in cases]


def _in_soak(case: Any) -> Any:
    values = case if type(case) is tuple else (case,)  # a named tuple is one value
    return pytest.param(*values, marks=pytest.mark.soak)
