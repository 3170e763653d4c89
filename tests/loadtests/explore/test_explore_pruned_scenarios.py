"""Pruning on the real service: the verdict, the anomalies and the first losing schedule are those of all schedules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import planted_bugs as bugs
import pytest
from test_explore_planted_bugs import COMBINED, FOUND

from loadtests.lab.explore.exploration import Scenario, run
from loadtests.lab.explore.scenarios import SCENARIOS

pytestmark = pytest.mark.servers
_QUICK = {("retry", "none"), ("cart", "none"), ("seats", "file")}
_QUICK_BUG = bugs.a_guard_given_back_before_the_write


def assert_tells_what_all_tell(case: Scenario) -> None:
    pruned, all_of_them = (run(msgspec.structs.replace(case, most=3000, prune=prune)) for prune in (True, False))
    assert pruned.whole
    assert all_of_them.whole
    assert pruned.verdict == all_of_them.verdict
    assert pruned.anomalies.keys() == all_of_them.anomalies.keys()
    assert pruned.schedules + (pruned.pruned or 0) == all_of_them.schedules
    assert pruned.first == all_of_them.first


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        pytest.param(name, guard, marks=[] if (name, guard) in _QUICK else [pytest.mark.soak, pytest.mark.timeout(900)])
        for name in SCENARIOS
        for guard in ("none", "file")
    ],
)
def test_fewer_schedules_tell_what_all_of_a_scenario_tell(name: str, guard: str) -> None:
    assert_tells_what_all_tell(Scenario.of(name, guard=guard, worker="gthread"))


@pytest.mark.parametrize(
    ("bug", "case"),
    [
        pytest.param(
            bug,
            case,
            id=bug.__name__,
            marks=[] if bug is _QUICK_BUG else [pytest.mark.soak, pytest.mark.timeout(900)],
        )
        for bug, case, *_ in FOUND
        if case is not COMBINED
    ],
)
def test_fewer_schedules_hide_no_planted_bug(bug: Callable[[], None], case: Scenario, tmp_path: Path) -> None:
    with bugs.planted(bug, tmp_path):
        assert_tells_what_all_tell(case)
