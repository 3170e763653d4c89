"""What to expect of a guard under a worker model, before anything is run; the demo compares it with the verdict.

A guard excludes nobody, the threads and greenlets of one process, or every process of the host. What it achieves
depends on who is there to be excluded.
"""

from __future__ import annotations

from enum import Enum

from loadtests.lab.faults.schedule import names_of
from loadtests.lab.servers.office import Service
from service.catalogue import GUARDS, OFF, GuardTraits

_DEFAULT_LEASE_MS = 2_000


class Expectation(Enum):
    """How a cell has to come out."""

    EXACT = "exact"
    """Sold to the last seat, no ticket more, nothing lost."""
    WRONG = "goes wrong"
    """Purchases overlap and nothing separates them: some round has to oversell or lose."""
    EITHER = "may go wrong"
    """Nothing separates purchases, and whether they overlap is chance."""


class Met(Enum):
    """Whether a cell came out as expected."""

    YES = "yes"
    NO = "no"
    UNDECIDED = "undecided"


def expectation_of(service: Service, fault: str = "") -> Expectation:
    """What to expect of a service under enough buyers, and under faults, written as ``faults.schedule`` reads them."""
    traits = service.store_traits
    names = set(names_of(fault))
    if traits is not None and names.intersection(traits.loses_under):
        return Expectation.WRONG
    if traits is not None and "power-cut" in names and set(service.engine_settings.split(",")) & {*traits.loses_with}:
        return Expectation.WRONG
    return _of_the_guard(service, fault)


def _of_the_guard(service: Service, fault: str) -> Expectation:
    processes, threads = service.shape
    processes *= service.nodes
    # The office refuses to start with a guard that does not exist.
    guard = GUARDS.get(OFF if service.apart else service.acting_guard, GUARDS[OFF])
    if guard.is_leaky:
        return Expectation.EITHER
    if not guard.refuses_late_writes:
        return _of_a_lease(service, guard, set(names_of(fault)), processes)
    inside = threads > 1 or service.worker == "gevent"
    if not {"nobody": inside or processes > 1, "threads": processes > 1}.get(guard.scope, False):
        return Expectation.EXACT
    if service.worker == "gevent" and processes == 1 and service.think_ms == 0:
        # Greenlets switch only where one waits: without a delay, or a slow disk, none waits in between.
        return Expectation.EITHER
    return Expectation.WRONG


def _of_a_lease(service: Service, guard: GuardTraits, faults: set[str], processes: int) -> Expectation:
    """Of a lease whose holder may write after its end."""
    if faults.intersection(guard.loses_under):
        return Expectation.WRONG if processes > 1 else Expectation.EXACT
    longest_ms = service.think_ms if service.think_high_ms is None else service.think_high_ms
    by_chance = faults.intersection(guard.may_lose_under) or longest_ms >= (service.lease_ms or _DEFAULT_LEASE_MS)
    return Expectation.EITHER if by_chance else Expectation.EXACT


def met(expected: Expectation, verdict: str, rounds_wrong: int) -> Met:
    """Whether the verdict over some rounds is as expected."""
    if expected is Expectation.WRONG and rounds_wrong:
        return Met.YES
    if verdict == "unknown":
        return Met.UNDECIDED
    if expected is Expectation.EITHER:
        return Met.YES
    return Met.YES if (verdict == "valid") is (expected is Expectation.EXACT) and not rounds_wrong else Met.NO
