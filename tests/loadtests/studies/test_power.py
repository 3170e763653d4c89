"""The power of the verdict: a guard that always leaks is always caught, one that never does is never blamed."""

from __future__ import annotations

import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.servers.office import Service
from loadtests.lab.studies.power import Power, try_probability

SMALL = Workload(capacity=60, buyers=16)
pytestmark = pytest.mark.servers


def leaky(probability: float) -> Service:
    return Service(worker="gthread", guard="leaky", leak=probability, think_ms=5)


def test_a_guard_that_is_never_there_is_caught_in_every_run() -> None:
    assert try_probability(leaky(1), SMALL, 2) == Power(1, 2, 2, 0, whole=True)


def test_a_guard_that_is_always_there_is_never_called_wrong() -> None:
    found = try_probability(leaky(0), SMALL, 20)
    assert (found.invalid, found.undecided, found.whole) == (0, 0, False)


def test_a_probability_is_caught_only_if_all_runs_were_held_and_enough_were_invalid() -> None:
    assert Power(0.1, 100, 95, 0, whole=True).caught
    assert not Power(0.1, 100, 94, 0, whole=True).caught
    assert not Power(0.1, 10, 10, 0, whole=False).caught
