"""The faults of an experiment, injected into each of its rounds at their moments."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import psutil

from loadtests.lab.faults import FAULTS, fault_class, kind_of
from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected
from loadtests.lab.faults.cgroups import NoCgroup
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.schedule import Injection, Moment, names_of
from loadtests.lab.history.live_count import LiveCount
from loadtests.lab.servers.engines import NoEngine
from loadtests.lab.servers.network import NoNetwork
from service.catalogue import GUARDS

_POLL_S = 0.01
_REFUSALS = (NotInjected, NoCgroup, NoEngine, NoNetwork, OSError, subprocess.SubprocessError, psutil.Error)
"""What the machine, an engine or a network raises that does not do what a fault asks of it."""


class Faults:
    """The faults of one experiment, as a context manager: each is one object, whose injections follow one another.

    Different faults are injected at the same time where their moments are. With ``every_s`` each is injected again
    and again, so long after it was healed, until the round is over.
    """

    def __init__(
        self, injections: Sequence[Injection], capacity: int, every_s: float = 0.0, *, of_target: bool = False
    ) -> None:
        self._capacity = capacity
        self._every_s = every_s
        self._entered = contextlib.ExitStack()
        self._moments: dict[Fault, list[Moment]] = {}
        faults: dict[str, Fault] = {}
        for each in injections:
            if each.name not in faults:
                faults[each.name] = _kind(each.name, of_target=of_target)()
            fault = faults[each.name]
            self._moments.setdefault(fault, []).append(each.moment(capacity, fault.sold_first))

    def __enter__(self) -> Self:
        for fault in self._moments:
            self._entered.enter_context(fault)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def adapt(self, service: Any) -> Any:
        """The office's settings as all of them need them. Raises ``FaultUnfit``."""
        for fault in self._moments:
            fault.refuse_beside(each for each in self._moments if each is not fault)
            service = fault.adapt(service)
        return service

    def prepare(self, folder: Path) -> None:
        for fault in self._moments:
            fault.prepare(folder)

    def equip(self, server: Any) -> None:
        """Give the started server what they need from the beginning of the sale. Raises ``NotInjected``."""
        for fault in self._moments:
            with _not_injected(fault):
                fault.equip(server)

    def variables(self, folder: Path) -> Mapping[str, str]:
        """What more the processes of a server in this folder have in their environment."""
        return {name: value for fault in self._moments for name, value in fault.variables(folder).items()}

    def address(self, url: str) -> str:
        """The address for the buyers, where faults stand between them and the server. Raises ``FaultUnfit``."""
        for fault in self._moments:
            url = fault.address(url)
        return url

    def refuse_missing(self) -> None:
        """Raise ``FaultUnfit`` where this machine cannot do one of them."""
        for fault in self._moments:
            if missing := fault.needs():
                raise FaultUnfit(f"the fault {fault.name} cannot be injected on this machine: {missing}")

    def refuse_small(self) -> None:
        """Raise ``FaultUnfit`` where the sale has too few tickets for a moment."""
        for fault, moments in self._moments.items():
            tickets = max(moment.tickets for moment in moments)
            if self._capacity < tickets:
                raise FaultUnfit(
                    f"the fault {fault.name} begins when {tickets} tickets are sold, and there are {self._capacity}: "
                    "say --capacity 200."
                )

    @contextlib.contextmanager
    def injected(self, server: Any, happened: list[Happened]) -> Iterator[None]:
        """Inject them into the round that runs in this block, and add what was injected to ``happened``.

        At the end of a block that did not fail, raises ``NotInjected`` or the error of an injection or a healing.
        """
        if not self._moments:
            yield
            return
        over = threading.Event()
        with ThreadPoolExecutor(len(self._moments), thread_name_prefix="lastseat-fault") as threads:
            running = [
                threads.submit(self._take, fault, moments, server, over, happened.append)
                for fault, moments in self._moments.items()
            ]
            try:
                yield
            finally:
                over.set()
        for each in running:
            each.result()

    def _take(
        self,
        fault: Fault,
        moments: Sequence[Moment],
        server: Any,
        over: threading.Event,
        add: Callable[[Happened], None],
    ) -> None:
        """Take one fault through a round. Raises ``NotInjected`` where one of its moments did not come."""
        with _not_injected(fault):
            for moment in moments:
                _wait_for(moment, server.folder, over)
                add(fault.inject(server, over))
            while self._every_s and not over.wait(self._every_s):
                with _unless_over(over):
                    add(fault.inject(server, over))


@contextlib.contextmanager
def _not_injected(fault: Fault) -> Iterator[None]:
    """Let what the machine or an engine refuses in this block be said of the fault.

    Raises ``NotInjected``. An error of another kind is one of the lab, and stays as it is.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _REFUSALS) and not _is_of_a_driver(error):
            raise
        raise NotInjected(f"the fault {fault.name} did not happen: {error}") from error


def _is_of_a_driver(error: Exception) -> bool:
    """Whether a library raised it by which an engine is asked; they are slow to import, and so imported only now."""
    import psycopg
    import redis

    return isinstance(error, psycopg.Error | redis.RedisError)


@contextlib.contextmanager
def _unless_over(over: threading.Event) -> Iterator[None]:
    """A fault that comes again may be in the middle when the round ends."""
    try:
        yield
    except NotInjected:
        if not over.is_set():
            raise


def refuse_unfit(injections: Sequence[Injection], service: Any, capacity: int, *, of_target: bool = False) -> None:
    """Check before the start that they can be injected into such a service and so small a sale, here.

    Raises ``FaultUnfit``.
    """
    with Faults(injections, capacity, of_target=of_target) as faults:
        if not of_target:
            faults.adapt(service)
        faults.refuse_missing()
        faults.refuse_small()


def fitting(service: Any, capacity: int, *, holds: bool = False, of_target: bool = False) -> list[str]:
    """The faults that can be injected into such a service on this machine, all of them together.

    Those are left out under which the sale is known to lose: by its store, by its guard, or because it ``holds``
    tickets for a time.
    """
    found: list[Injection] = []
    losing = set() if of_target else {*_losing(service)}
    for name in FAULTS:
        if name in losing or (holds and kind_of(name) == "clock"):
            continue
        with contextlib.suppress(FaultUnfit):
            refuse_unfit([*found, Injection(name)], service, capacity, of_target=of_target)
            found.append(Injection(name))
    return list(names_of(",".join(map(str, found))))


def _losing(service: Any) -> Iterator[str]:
    """The faults under which the office's store or its guard is known to lose."""
    if service.store_traits is not None:
        yield from service.store_traits.loses_under
    if service.acting_guard in GUARDS:
        yield from GUARDS[service.acting_guard].loses_under
        yield from GUARDS[service.acting_guard].may_lose_under


def _kind(name: str, *, of_target: bool) -> type[Fault]:
    return fault_class(name).of_target() if of_target else fault_class(name)


def _wait_for(moment: Moment, folder: Path, over: threading.Event) -> None:
    """Wait for the moment in the round that writes into the folder. Raises ``NotInjected``."""
    live = LiveCount(folder)
    while moment.tickets and live.read() < moment.tickets:
        if over.wait(_POLL_S):
            raise NotInjected(f"the round was over before {moment.tickets} of its tickets were sold")
    if moment.seconds and over.wait(moment.seconds):
        raise NotInjected(f"the round was over within {moment.seconds:g} s after its first ticket")
