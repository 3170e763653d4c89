"""Everything that buyers do, at once, under every guard over every store: purchases, holds that are paid for, refused
or forgotten, carts over two events, cancellations, buyers who hang up and ask again. The negative control comes first.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_pairs import PAIRS, SCOPE, is_safe

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.protocol.carts import NO_CARTS
from loadtests.lab.servers.office import Service
from service.stores import store_class
from tests.combinations import shortened
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers

WORKLOAD = Workload(
    kind="mixed", capacity=60, buyers=16, rounds=1, retries=4, time_outs=0.05, hold_share=0.6, hold_s=0.4,
    payment="5-15", payment_refused=0.15, payment_lost=0.05, cancel_share=0.15, cart_share=0.2, limit_s=120,
)  # fmt: skip


class Case(NamedTuple):
    guard: str
    store: str
    worker: str

    @property
    def service(self) -> Service:
        # What lives in one process, or excludes only within one, is sold by one.
        single = SCOPE[self.store] == "process" or not is_safe(self.guard, self.store, 2)
        return Service(
            worker=self.worker, processes=1 if single else None, guard=self.guard, store=self.store, allow_unsafe=True
        )


SAFE = [
    Case(guard, store, worker) for guard, store in PAIRS for worker in WORKER_MODELS if is_safe(guard, store, 1)
]  # fmt: skip


def slice_of(cases: list[Case]) -> list[Any]:
    """Every pair of guard and store once, and with them every worker model in turn; one of each store runs always."""
    workers, pairs = list(WORKER_MODELS), list(dict.fromkeys((case.guard, case.store) for case in cases))
    found = [Case(guard, store, workers[at % len(workers)]) for at, (guard, store) in enumerate(pairs)]
    return shortened(found, *{case.store: case for case in found}.values())


def operations(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "history.jsonl").read_text().splitlines()]


def found_by(result: Result, check: str) -> dict[str, int]:
    return next((each.violations for each in result.verdict.checks if each.name == check), {})


def hold(case: Case, workload: Workload, folder: Path) -> Result:
    return run(Experiment(service=case.service, workload=workload), folder)


@pytest.mark.parametrize("worker", ["gthread", "gevent"])
def test_without_a_guard_the_mixed_sale_goes_wrong(worker: str, tmp_path: Path) -> None:
    service = Service(worker=worker, guard="none", store="json", think_ms=5, allow_unsafe=True)
    result = run(Experiment(service=service, workload=WORKLOAD), tmp_path)
    assert result.verdict.verdict == "invalid"
    assert found_by(result, "carts")["half a cart"] > 0


@pytest.mark.parametrize("case", slice_of(SAFE), ids="-".join)
def test_a_safe_guard_sells_the_mixed_sale_right(case: Case, tmp_path: Path) -> None:
    result = hold(case, WORKLOAD, tmp_path)
    assert result.verdict.verdict == "valid", result.verdict.why
    lines = operations(result)
    done = Counter(line["op"] for line in lines if line["outcome"] == "ok")
    assert all(done[op] for op in ("buy", "read", "hold", "confirm")), done
    carts = Counter(line["outcome"] for line in lines if "cart" in line)
    if store_class(case.store).spans_events:
        assert carts["ok"] and carts["ok"] % 2 == 0, carts
    else:
        assert set(carts) == {"fail"}
        assert NO_CARTS in result.conclusion.notes
    # Who hung up asked again under the same key, until he had an answer.
    hung_up = {line["key"] for line in lines if line["outcome"] == "unknown"}
    assert hung_up
    answered = {line["key"] for line in lines if line.get("attempt", 1) > 1 and line["outcome"] != "unknown"}
    assert answered & hung_up


@pytest.mark.soak
@pytest.mark.parametrize("case", SAFE, ids="-".join)
def test_a_long_mixed_sale_with_a_hundredth_of_time_outs_is_right_everywhere(case: Case, tmp_path: Path) -> None:
    long = Workload(
        kind="mixed", capacity=400, buyers=32, rounds=3, retries=4, time_outs=0.01, hold_s=1.0, payment="10-40",
        payment_refused=0.15, payment_lost=0.05, cancel_share=0.2, limit_s=120,
    )  # fmt: skip
    result = hold(case, long, tmp_path)
    assert result.verdict.verdict == "valid", result.verdict.why
    assert any(line.get("attempt", 1) > 1 for line in operations(result))
