"""``lastseat run --fault kill-worker``: kill -9 of workers while everything that buyers do is under way.

Purchases, holds, payments, carts and cancellations; whoever had no answer asks again under his key. The kills at the
gates (``test_killed_at_gates``) choose the moment, of purchases alone; here everything is killed, whenever it happens.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, Result, run
from loadtests.lab.faults.happened import read as read_faults
from loadtests.lab.servers.office import Service
from service.stores import STORES, store_class
from tests.combinations import shortened
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers

SALE = Workload(
    kind="mixed", capacity=200, buyers=12, rounds=1, retries=6, hold_share=0.6, hold_s=0.5, payment="5-15",
    payment_refused=0.1, payment_lost=0.05, cancel_share=0.15, cart_share=0.2, limit_s=120,
)  # fmt: skip
DURABLE = [name for name in STORES if store_class(name).durable]


def killed(folder: Path, **service: object) -> Result:
    return run(
        Experiment(service=Service(allow_unsafe=True, **service), workload=SALE, fault="kill-worker"),  # type: ignore[arg-type]
        folder,
    )


def test_without_a_guard_it_goes_wrong(tmp_path: Path) -> None:
    result = killed(tmp_path, worker="gthread", store="json", guard="none", think_ms=5)
    assert result.verdict.verdict == "invalid"


@pytest.mark.parametrize(
    ("store", "worker"),
    shortened(
        [(store, list(WORKER_MODELS)[at % len(WORKER_MODELS)]) for at, store in enumerate(DURABLE)],
        ("json", "sync"), ("journal", "gthread"), ("redis", "gthread"),
    ),
)  # fmt: skip
def test_workers_killed_in_the_middle_of_everything_lose_nothing_and_sell_nothing_twice(
    store: str, worker: str, tmp_path: Path
) -> None:
    result = killed(tmp_path, worker=worker, store=store, guard=store_class(store).safe_guard)
    assert result.verdict.verdict == "valid", result.verdict.why
    [happened] = read_faults(tmp_path)
    assert int(happened.text.split()[0]) >= 2
    assert result.verdict.acknowledged == result.capacity


@pytest.mark.soak
@pytest.mark.parametrize("worker", WORKER_MODELS)
@pytest.mark.parametrize("store", DURABLE)
def test_workers_killed_again_and_again_lose_nothing_and_sell_nothing_twice(
    store: str, worker: str, tmp_path: Path
) -> None:
    unanswered = 0
    for number in range(10):
        folder = tmp_path / str(number)
        result = killed(folder, worker=worker, store=store, guard=store_class(store).safe_guard)
        assert result.verdict.verdict == "valid", result.verdict.why
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        unanswered += sum(line["outcome"] == "unknown" for line in lines)
    assert unanswered, "no kill met a request"


def test_a_store_that_is_gone_with_its_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabFailed, match="in its worker's memory"):
        killed(tmp_path, worker="gevent", processes=1, store="memory", guard="thread")


def test_several_nodes_have_a_fault_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(LabFailed, match="kill-node"):
        killed(tmp_path, store="redis", guard="atomic", nodes=2)
