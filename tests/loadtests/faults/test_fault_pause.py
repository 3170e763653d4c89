"""A lease, shown: a holder that is stopped past its lease and writes late, under each worker model.

Under ``lease`` that goes wrong in every round; it is the negative control of the same schedule under ``fenced``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from loadtests.lab.experiment.expectation import Expectation, Met
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, Result, run
from loadtests.lab.faults.happened import read as read_faults
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.servers.office import Service
from tests.combinations import shortened
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers
SALE = Workload(capacity=60, buyers=12, rounds=2, max_quantity=1, read_share=0.1, cancel_share=0.0)


Paused = Callable[[str, str], Result]


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Paused:
    """A run under a guard with a worker model; each once for all tests."""

    @functools.cache
    def run_once(guard: str, worker: str) -> Result:
        service = Service(worker=worker, store="redis", guard=guard, allow_unsafe=True, lease_ms=200)
        folder = tmp_path_factory.mktemp(f"{guard}-{worker}")
        return run(Experiment(service=service, workload=SALE, fault="pause"), folder, report=write_run_report)

    return run_once


def assert_it_happened(result: Result) -> None:
    """In every round a worker was stopped with its decision in hand while another one sold."""
    happened = read_faults(result.folder)
    assert len(happened) == SALE.rounds
    assert all("sold at version" in each.text for each in happened), happened
    report = (result.folder / "report.html").read_text()
    assert report.count('class="fault"') >= SALE.rounds
    assert happened[0].text in report


@pytest.mark.parametrize("worker", shortened(WORKER_MODELS, "sync"))
def test_under_a_lease_a_holder_that_wakes_late_sells_seats_twice_in_every_round(paused: Paused, worker: str) -> None:
    result = paused("lease", worker)
    assert_it_happened(result)
    assert (result.expectation, result.met) == (Expectation.WRONG, Met.YES)
    assert result.verdict.verdict == "invalid"
    assert result.rounds_wrong == SALE.rounds
    assert result.verdict.double_booked > 0


@pytest.mark.parametrize("worker", shortened(WORKER_MODELS, "gthread"))
def test_under_fencing_tokens_the_late_write_is_refused_and_the_sale_is_exact(paused: Paused, worker: str) -> None:
    result = paused("fenced", worker)
    assert_it_happened(result)
    assert (result.expectation, result.met) == (Expectation.EXACT, Met.YES), result.verdict
    assert result.verdict.verdict == "valid"
    assert result.verdict.acknowledged == result.capacity
    assert (result.folder / "server.log").read_text().count("a late write to") >= SALE.rounds


def test_the_record_of_the_run_names_the_fault(paused: Paused) -> None:
    result = paused("fenced", "sync")
    record = msgspec.json.decode((result.folder / "experiment.json").read_bytes())
    assert record["fault"] == "pause"
    assert "gates" not in record["service"] or not record["service"]["gates"]


@pytest.mark.parametrize(
    ("guard", "processes", "says"), [("atomic", 2, "leaves no place"), ("lease", 1, "--processes 2")]
)
def test_a_fault_that_cannot_happen_is_refused_with_the_reason(
    tmp_path: Path, guard: str, processes: int, says: str
) -> None:
    service = Service(worker="gevent", store="redis", guard=guard, processes=processes, allow_unsafe=True)
    with pytest.raises(LabFailed, match=says):
        run(Experiment(service=service, workload=SALE, fault="pause"), tmp_path)
