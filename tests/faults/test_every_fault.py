"""Every fault of the registry under every durable store, as ``lastseat faults --matrix`` judges it.

Each fault has a short test on one store, too, in the file of its kind.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from loadtests.lab.compare.fault_table import EXPECTED, FaultOutcome
from service.catalogue import STORES
from tests.loadtests.target.test_target import LASTSEAT
from workers import WORKER_MODELS


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.servers
@pytest.mark.parametrize("worker", WORKER_MODELS)
@pytest.mark.parametrize("store", [name for name, store in STORES.items() if store.durable])
def test_no_cell_of_the_matrix_loses_under_its_safe_guard_and_every_canary_is_caught(
    store: str, worker: str, tmp_path: Path
) -> None:
    asked = ["faults", "--matrix", "--store", store, "--worker", worker, "--budget", "55m", "--json"]
    done = subprocess.run([*LASTSEAT, *asked], cwd=tmp_path, capture_output=True, text=True, timeout=3_500, check=False)
    matrix = json.loads(done.stdout)
    assert (matrix["failed"], matrix["left"]) == ([], []), done.stderr
    assert {cell["guard"] for cell in matrix["cells"]} >= {STORES[store].safe_guard}
    # A slow machine may make a buyer wait for a lock in vain: a definite refusal, and no loss.
    allowed = {expected: {each.value for each in outcomes} for expected, outcomes in EXPECTED.items()}
    allowed["holds"].add(FaultOutcome.REFUSED.value)
    assert [cell for cell in matrix["cells"] if cell["outcome"] not in allowed[cell["expected"]]] == []
