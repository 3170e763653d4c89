"""The wrong solutions of every exercise: each is a mistake that people make, and none passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.test_exercises import LIMITED, SOLUTIONS, checked, solution
from workers.exercises import EXERCISES

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("nothing_left_running")]


@LIMITED
@pytest.mark.parametrize(
    ("name", "file"),
    [(name, file) for name in EXERCISES for file in sorted((SOLUTIONS / name).glob("wrong_*.py"))],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
def test_a_wrong_solution_does_not_pass(name: str, file: Path, tmp_path: Path) -> None:
    found = checked(solution(name, file, tmp_path / "wrong"))
    assert not found["passed"]
    assert found["finding"] not in ("time", "not_whole")
