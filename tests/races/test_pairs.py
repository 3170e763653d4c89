"""Every guard over every store that it fits, as the registries have them: a new one is covered by its line there.

What excludes must sell to the last seat and not further, whoever buys; what does not must go wrong on the very same
workload, or the test of the others would prove nothing. So the negative controls come first.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from sales import CAPACITY, CROWDS, LEAK, SHORT_LEASE_MS, hold_sale
from servers import settings_without_engine

from loadtests.lab.experiment.expectation import Met
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, run
from loadtests.lab.servers.office import Service
from service.guards import GUARDS, fitting, guard_class
from service.stores import STORES, open_store
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers


class Case(NamedTuple):
    guard: str
    store: str
    crowd: str
    batch: int

    @property
    def name(self) -> str:
        return f"{self.guard}-{self.store}-{self.crowd.replace(' × ', 'x').replace(' ', '-')}-batch{self.batch}"


def _stores() -> Iterator[tuple[str, str, list[str]]]:
    for name in STORES:
        with tempfile.TemporaryDirectory() as data:
            store = open_store(settings_without_engine(name, Path(data)))
            yield name, store.scope, fitting(store)


_FOUND = list(_stores())
SCOPE = {name: scope for name, scope, _ in _FOUND}
PAIRS = [(guard, store) for store, _, guards in _FOUND for guard in guards]


def is_safe(guard: str, store: str, processes: int) -> bool:
    """Whether it excludes everybody who is there: one host, all of whose processes are known, and a lease too short."""
    if guard == "lease":
        return processes == 1
    return guard_class(guard).safe("process" if SCOPE[store] == "process" else "host", processes)


def all_cases() -> list[Case]:
    return [
        Case(guard, store, crowd, batch)
        for (guard, store), crowd, batch in itertools.product(PAIRS, CROWDS, (1, 8))
        if SCOPE[store] != "process" or CROWDS[crowd].processes == 1
    ]


def pairwise(cases: Iterable[Case]) -> list[Case]:
    """Few cases in which any two values that occur together in some case do so: every guard over every store, under
    every crowd, with every batch; every store likewise. The greedy way, so it is not the smallest such set."""
    left = {case: set(itertools.combinations(enumerate(case), 2)) for case in cases}
    chosen = []
    while any(left.values()):
        best = max(left, key=lambda case: len(left[case]))
        chosen.append(best)
        covered = left.pop(best)
        for case in left:
            left[case] -= covered
    return chosen


def _parameters(safe: bool, cases: Iterable[Case]) -> pytest.MarkDecorator:
    wanted = [case for case in cases if is_safe(case.guard, case.store, CROWDS[case.crowd].processes) is safe]
    return pytest.mark.parametrize("case", wanted, ids=[case.name for case in wanted])


SLICE = pairwise(all_cases())
REST = [case for case in all_cases() if case not in SLICE]


def oversells(data: Path, case: Case) -> None:
    """Now and then a slow machine serves the buyers of a whole sale one after another: then another sale is held."""
    sales = []
    for number in range(3):
        (data / str(number)).mkdir()
        crowd = CROWDS[case.crowd]
        sales.append(hold_sale(data / str(number), case.guard, case.store, crowd, case.batch, lease_ms=SHORT_LEASE_MS))
        if sales[-1].wrong:
            return
    raise AssertionError(sales)


def is_exact(data: Path, case: Case) -> None:
    sale = hold_sale(data, case.guard, case.store, CROWDS[case.crowd], case.batch)
    assert sale.exact, sale
    assert sale.problems <= {"sold_out", "contention"}


@_parameters(False, SLICE)
def test_what_does_not_exclude_goes_wrong(tmp_path: Path, case: Case) -> None:
    oversells(tmp_path, case)


@_parameters(True, SLICE)
def test_what_excludes_sells_each_seat_once_and_all_of_them(tmp_path: Path, case: Case) -> None:
    is_exact(tmp_path, case)


def test_a_document_that_two_write_knows_nothing_of_the_sales_it_lost(tmp_path: Path) -> None:
    sale = hold_sale(tmp_path, "none", "json", CROWDS["sync × 4"], 1)
    assert sale.acknowledged > CAPACITY
    assert sale.lost > 0
    assert sale.recorded <= CAPACITY


@pytest.mark.parametrize("crowd", CROWDS)
def test_a_lease_that_nobody_outlasts_is_exact(tmp_path: Path, crowd: str) -> None:
    is_exact(tmp_path, Case("lease", "redis", crowd, 8))


@pytest.mark.parametrize("crowd", ["sync × 4", "gevent × 2"])
def test_a_lease_that_is_over_before_the_write_is_exact_too_where_the_store_refuses_late_tokens(
    tmp_path: Path, crowd: str
) -> None:
    """Nobody gets a write through in time by luck alone, so most give up; but what is sold is sold once."""
    sale = hold_sale(tmp_path, "fenced", "redis", CROWDS[crowd], 8, lease_ms=8)
    assert not sale.wrong, sale
    assert sale.problems <= {"sold_out", "lease_lost", "lock_timeout"}


@pytest.mark.parametrize("store", ["journal", "sqlite"])
def test_a_store_that_loses_nothing_oversells_all_the_same(tmp_path: Path, store: str) -> None:
    """Each write is atomic and durable by itself; the decision between a read and a write is not."""
    sale = hold_sale(tmp_path, "none", store, CROWDS["gthread 2 × 4"], 1)
    assert (sale.lost, sale.recorded) == (0, sale.acknowledged)
    assert sale.booked_twice > 0


def test_the_slice_has_every_guard_every_store_and_every_worker_model() -> None:
    assert {(case.guard, case.store) for case in SLICE} == set(PAIRS)
    assert {guard for guard, _ in PAIRS} == set(GUARDS)
    assert {store for _, store in PAIRS} == set(STORES)
    assert {crowd.partition(" ")[0] for crowd in CROWDS} == set(WORKER_MODELS)
    together = set().union(*(itertools.combinations(enumerate(case), 2) for case in all_cases()))
    assert together == set().union(*(itertools.combinations(enumerate(case), 2) for case in SLICE))


@pytest.mark.soak
@_parameters(False, REST)
def test_what_does_not_exclude_goes_wrong_in_every_other_case_too(tmp_path: Path, case: Case) -> None:
    oversells(tmp_path, case)


@pytest.mark.soak
@_parameters(True, REST)
def test_what_excludes_is_exact_in_every_other_case_too(tmp_path: Path, case: Case) -> None:
    is_exact(tmp_path, case)


@pytest.mark.soak
@pytest.mark.parametrize("worker", WORKER_MODELS)
@pytest.mark.parametrize(("guard", "store"), PAIRS)
def test_under_a_real_gunicorn_each_pair_does_what_its_guard_promises(
    tmp_path: Path, guard: str, store: str, worker: str
) -> None:
    processes = None if SCOPE[store] != "process" else 1
    service = Service(
        worker=worker,
        store=store,
        guard=guard,
        processes=processes,
        think_ms=5,
        leak=LEAK if guard == "leaky" else 0.0,
        allow_unsafe=True,
    )
    result = run(Experiment(service=service, workload=Workload(capacity=60, buyers=16, rounds=1)), tmp_path)
    assert result.met is Met.YES, result.verdict
