"""What the scheduler may let fail, at most one thing in an execution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from loadtests.lab.explore.schedules import COMBINER, LEASE, LOST, PAUSED, REFUSED, Standing, Token, buyer_of
from loadtests.lab.servers.office import Service
from service.catalogue import GUARDS, HOST_LINE_WORKERS, STORES


class FailureKind(NamedTuple):
    """One kind of failure."""

    about: str
    gates: tuple[str, ...] = ()
    """The gates at which it happens, where it is not every gate; buyers are held at these then."""


FAILURES = {
    "kill": FailureKind("kill -9 of a buyer's worker"),
    "pause": FailureKind("a buyer's worker is stopped until nobody else can go on"),
    "lost-answer": FailureKind("an answer is lost after the commit", ("answer",)),
    "disk": FailureKind("the disk is full before a write, or fails in a sync", ("append", "durable")),
    "lease-end": FailureKind("the event's lease ends in the engine", ("view", "append")),
    "combiner": FailureKind("kill -9 of the host's combiner", ("view", "append", "durable")),
}
OF_A_BUYER: dict[str, Callable[[str], Token]] = {
    "kill": str.lower, "pause": PAUSED.__add__, "lost-answer": LOST.__add__, "disk": REFUSED.__add__,
}  # fmt: skip
"""How the tokens of failures are written that are of one buyer's request."""
_OF_TOKENS = {PAUSED: "pause", LOST: "lost-answer", REFUSED: "disk", LEASE: "lease-end", COMBINER: "combiner"}


def failure_of(token: Token) -> str | None:
    """The kind of failure that a token is; None if it is none."""
    if token.islower() and buyer_of(token):
        return "kill"
    return _OF_TOKENS.get(token[0])


def possible(
    may: Collection[str], standings: Iterable[Standing], combined: Collection[str]
) -> Iterator[tuple[Token, Standing]]:
    """What may fail now, of the buyers who stand at a gate of the service; those that are ``combined`` stand there in
    the host's combiner."""

    def at(kind: str) -> list[Standing]:
        gates = FAILURES[kind].gates
        return [each for each in standings if each.pid and (not gates or each.gate in gates)] if kind in may else []

    for kind, written in OF_A_BUYER.items():
        yield from ((written(each.buyer), each) for each in at(kind))
    for lent in at("lease-end")[:1]:
        yield LEASE, Standing("", "lease-end", 0, lent.event, "")
    for each in [each for each in at("combiner") if each.buyer in combined][:1]:
        yield COMBINER, Standing("", "combiner", each.pid, each.event, "")


def check_failures(failures: Collection[str], service: Service) -> None:
    """Raises ``ValueError`` where one of them cannot happen to this service."""
    store, guard = service.store, GUARDS.get(service.acting_guard)
    refusable = [name for name, each in STORES.items() if each.writes_own_files]
    if "disk" in failures and store not in refusable:
        raise ValueError(f"a disk that refuses is known to the stores {' and '.join(refusable)}, not to {store}")
    leases = {name: each for name, each in GUARDS.items() if each.is_lease}
    if "lease-end" in failures and (guard is None or not guard.is_lease or store not in guard.stores):
        lent_by = sorted({each for lease in leases.values() for each in lease.stores})
        raise ValueError(f"only a lease ends: take --store {' or '.join(lent_by)} with --guard {' or '.join(leases)}")
    combining = [name for name, each in STORES.items() if each.scope == "host"]
    combines = store in combining and guard is not None and guard.scope in {"host", "everybody"}
    if "combiner" in failures and (not combines or service.worker not in HOST_LINE_WORKERS):
        raise ValueError(
            f"a combiner decides for the workers of a host: take --worker {' or '.join(HOST_LINE_WORKERS)}, --store "
            f"{' or '.join(combining)}, and a guard that keeps processes apart"
        )
