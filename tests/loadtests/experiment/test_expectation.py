"""What may be expected of a guard under a worker model; the table of the design, as rules."""

from __future__ import annotations

import msgspec
import pytest

from loadtests.lab.experiment.expectation import Expectation, Met, expectation_of, met
from loadtests.lab.servers.office import Service
from service.guards import GUARDS, guard_class


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_without_a_guard_several_processes_go_wrong(worker: str) -> None:
    assert expectation_of(Service(worker=worker, guard="none")) is Expectation.WRONG


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_lock_inside_each_process_does_not_help_several(worker: str) -> None:
    assert expectation_of(Service(worker=worker, guard="thread")) is Expectation.WRONG
    assert expectation_of(Service(worker=worker, guard="thread", processes=1)) is Expectation.EXACT


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_a_lock_on_a_file_holds_everywhere(worker: str) -> None:
    assert expectation_of(Service(worker=worker, guard="file", think_ms=5)) is Expectation.EXACT


# Whether it must hold: among the threads of one process, the processes of a host, and hosts. A table of its own,
# since the service and the lab take the same traits from the catalogue, and would be wrong together.
MUST_HOLD = {
    "none": (False, False, False),
    "thread": (True, False, False),
    "file": (True, True, False),
    "leaky": (False, False, False),
    "immediate": (True, True, False),
    "row": (True, True, True),
    "table": (True, True, True),
    "advisory": (True, True, True),
    "serializable": (True, True, True),
    "optimistic": (True, True, True),
    "atomic": (True, True, True),
    "lease": (False, False, False),
    "fenced": (True, True, True),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_the_service_takes_those_guards_for_safe_that_must_hold(guard: str) -> None:
    places = (("host", 1), ("host", 4), ("cluster", 4))
    assert tuple(guard_class(guard).safe(scope, processes) for scope, processes in places) == MUST_HOLD[guard]


@pytest.mark.parametrize("guard", [name for name in GUARDS if name != "lease"])
def test_the_lab_expects_a_right_sale_of_those_guards_that_must_hold(guard: str) -> None:
    service = Service(worker="gthread", guard=guard, think_ms=5)
    expected = [expectation_of(msgspec.structs.replace(service, processes=processes)) for processes in (1, 4)]
    assert tuple(each is Expectation.EXACT for each in expected) == MUST_HOLD[guard][:2]


def test_the_lab_expects_of_on_what_the_guard_does_for_which_it_stands() -> None:
    assert expectation_of(Service(worker="gthread", store="memory", guard="on", processes=4)) is Expectation.WRONG
    assert (
        expectation_of(Service(worker="gthread", store="redis://host:6379/0", guard="on", processes=4))
        is Expectation.EXACT
    )


def test_a_lease_is_exact_until_its_holder_is_paused_or_thinks_longer_than_it_lasts() -> None:
    """So the service takes it for unsafe, and a sale in which nobody is paused comes out right all the same."""
    assert not guard_class("lease").safe("host", 1)
    lease = Service(worker="gthread", guard="lease", store="redis", lease_ms=100, think_ms=5)
    assert expectation_of(lease) is Expectation.EXACT
    assert expectation_of(msgspec.structs.replace(lease, lease_ms=5)) is Expectation.EITHER
    assert expectation_of(msgspec.structs.replace(lease, think_high_ms=200)) is Expectation.EITHER
    assert expectation_of(lease, "pause") is Expectation.WRONG
    assert expectation_of(msgspec.structs.replace(lease, guard="fenced"), "pause") is Expectation.EXACT


def test_one_process_without_threads_needs_no_guard() -> None:
    assert expectation_of(Service(worker="sync", guard="none", processes=1)) is Expectation.EXACT


def test_greenlets_of_one_process_are_right_by_accident_until_something_waits() -> None:
    assert expectation_of(Service(worker="gevent", guard="none", processes=1, think_ms=0)) is Expectation.EITHER
    assert expectation_of(Service(worker="gevent", guard="none", processes=1, think_ms=5)) is Expectation.WRONG


def test_a_cell_that_should_go_wrong_and_does_not_breaks_its_promise() -> None:
    assert met(Expectation.WRONG, "valid", 0) is Met.NO
    assert met(Expectation.WRONG, "invalid", 1) is Met.YES


def test_a_safe_guard_must_be_valid_in_every_round() -> None:
    assert met(Expectation.EXACT, "valid", 0) is Met.YES
    assert met(Expectation.EXACT, "invalid", 1) is Met.NO
    assert met(Expectation.EXACT, "invalid", 0) is Met.NO


def test_an_unknown_verdict_leaves_it_undecided() -> None:
    assert met(Expectation.EXACT, "unknown", 0) is Met.UNDECIDED
    assert met(Expectation.WRONG, "unknown", 0) is Met.UNDECIDED
