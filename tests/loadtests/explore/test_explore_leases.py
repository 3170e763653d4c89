"""A lease and a token under one schedule, step by step: the holder is stopped with its decision in hand."""

from __future__ import annotations

import pytest

from loadtests.lab.explore.execution import ExecutedSchedule
from loadtests.lab.explore.exploration import Scenario, schedule_runner
from loadtests.lab.explore.schedules import Chooser, tokens

pytestmark = pytest.mark.servers
STOPPED_BEFORE_ITS_WRITE = "AA-ABBBB"


def played(guard: str) -> list[ExecutedSchedule]:
    with schedule_runner(Scenario(store="redis", guard=guard, worker="sync", pause=True)) as stage:
        return [stage.execute(Chooser(tokens(STOPPED_BEFORE_ITS_WRITE))) for _ in range(3)]


def test_under_a_lease_the_same_schedule_sells_the_seat_twice_every_time() -> None:
    for each in played("lease"):
        assert each.failing
        assert [operation.tickets for operation in each.operations] == [[1], [1]]
        assert each.choices.schedule == f"{STOPPED_BEFORE_ITS_WRITE}AA"


def test_under_a_token_the_late_write_is_refused_and_decided_again() -> None:
    for each in played("fenced"):
        assert not each.failing, each.verdict
        assert sorted(operation.outcome for operation in each.operations) == ["ok", "sold_out"]
        assert each.choices.schedule.startswith(f"{STOPPED_BEFORE_ITS_WRITE}AA"), "it read again"
        assert [step.gate for step in each.steps if step.buyer == "A"].count("view") == 2
