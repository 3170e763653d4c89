"""A worker killed at each gate, then the whole house and the engine: what was answered is there, and nothing twice."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from test_killed_at_gates import BUYERS, SEED, play_with_kills

from loadtests.lab.explore.exploration import Scenario, schedule_runner
from service.experiments.gates import GATES

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("guard", ["optimistic", "atomic", "lease", "fenced"])
def test_after_a_kill_at_each_gate_and_of_the_engine_each_answered_order_is_there_once(guard: str) -> None:
    """A killed holder's lease ends by itself, and the next buyer gets it."""
    gates = [gate for gate in GATES if not (guard == "atomic" and gate == "view")]
    case = Scenario(store="redis", guard=guard, worker="sync", buyers=BUYERS, tickets=2 * BUYERS, kill=True, seed=SEED)
    with schedule_runner(case) as stage:
        played = play_with_kills(stage, gates, random.Random(SEED))
        stage.office.restart()
        for each in played:
            event = each.operations[0].event
            records: list[dict[str, Any]] = [
                json.loads(line) for line in stage.office.office.audit(event).splitlines()[1:]
            ]
            kept = {record["key"]: record["tickets"] for record in records}
            assert len(kept) == len(records), "a key was committed twice"
            for operation in each.operations:
                if operation.outcome == "ok":
                    assert kept[operation.key or ""] == operation.tickets
            numbers = [ticket for tickets in kept.values() for ticket in tickets]
            assert len(numbers) == len(set(numbers))
