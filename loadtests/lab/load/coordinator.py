"""Coordinates one test: makes the event, knows when the sale is over, gathers the shards, draws the verdict.

It is in the locust process that the user talks to: the only one, or the master. Workers write files, not messages;
they send a message only when their buyers have left, because that has to be quick.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from loadtests.lab.experiment.halls import read_hall
from loadtests.lab.experiment.knobs import WORKLOADS, of_locust_files
from loadtests.lab.experiment.load_options import OF_LOCUST, addresses, locust_file
from loadtests.lab.experiment.result import VERDICT, Conclusion, conclude, fetch_audit, fetch_orders, load_conclusion
from loadtests.lab.history.shards import RunNotice, gather_shards, rounds_of, second_of
from loadtests.lab.paths import as_text, new_results_folder, write_json
from loadtests.lab.protocol.admin_api import Office, OfficeError, Offices, find_token
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.servers.machine import Machine, describe
from loadtests.lab.target.file import TargetError, read_target
from loadtests.lab.target.server import TargetOffice
from loadtests.lab.target.tables import Target

_POLL_S = 0.02
_JUDGED_WITHIN_S = 600.0


class ByHand(msgspec.Struct):
    """``experiment.json`` of a run that was started by hand: enough to repeat it."""

    experiment: str
    event: str
    url: str
    options: dict[str, Any]
    machine: Machine


class Coordinator:
    """One run, from the fresh event to the verdict."""

    def __init__(self, url: str, options: Any, workloads: Sequence[str], token: str | None = None) -> None:
        """Make a fresh lab event and a folder for it; ``token`` is the admin's, where one was given.

        Raises ``OfficeError``, ``TargetError``: then no load may start.
        """
        target = read_target(Path(options.target)) if options.target else None
        if target is not None:
            _refuse_holding(workloads)
        self.office = _office(url, target, options, token)
        self._options = options
        self._alone = not options.into
        if target is not None and self._alone:
            _ask_only_what_it_can(target, options)
        rounds = 0 if self._alone else _rounds_in(Path(options.into).resolve())
        event = _fresh_event(target, rounds)
        kinds = [kind for kind in WORKLOADS.values() if kind.locust_file in workloads]
        opens_at = time.time() + options.opens_in if any(kind.opens for kind in kinds) else None
        carts = any(kind.carts for kind in kinds) and options.cart_share > 0
        second = second_of(event) if carts else None
        notice = RunNotice(event, "", rounds, second=second, opens_at=opens_at)
        if isinstance(self.office, TargetOffice):
            self.office.create_event(event, int(options.capacity), opens_at)
            notice.mark, notice.values = secrets.token_hex(4), self.office.values
        else:
            notice.hall = _make_events(self.office, notice, workloads, options)
        if self._alone:
            folder = new_results_folder(options.results, "-".join(workloads))
            self._describe(folder, workloads, event, options)
        else:
            folder = Path(options.into).resolve()
            folder.mkdir(parents=True, exist_ok=True)
        self.notice = notice
        notice.folder = str(folder)
        notice.shards.mkdir()
        self.folder = folder
        self.failures: list[str] = []
        """Unforeseen errors in locust's processes: the history is not whole then."""
        self.elsewhere: dict[int, str] = {}
        """The shards on other machines, by number: where they are."""
        self.conclusion: Conclusion | None = None
        self._gone: dict[str, int] = {}
        self._concluding = False
        self._concluded = Event()

    def clients_left(self, shard: str, count: int) -> int:
        """Note how many buyers of one process have left; returns how many have left in all."""
        self._gone[shard] = count
        return sum(self._gone.values())

    def wait_for_shards(self, shards: list[int], within_s: float) -> None:
        """Wait until every shard on this machine is closed. Its note tells, so a lost connection does not matter."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if all((self.notice.shards / f"{shard}.note").exists() for shard in self._of_this_machine(shards)):
                return
            gevent.sleep(_POLL_S)

    def conclude(self, shards: list[int]) -> Conclusion | None:
        """Draw the verdict once; to be called when no shard is written any more.

        A second caller waits and gets None: a time limit that is reached while the verdict is drawn must not end the
        process in the middle of that.
        """
        if self._concluding:
            self._concluded.wait(_JUDGED_WITHIN_S)
            return None
        self._concluding = True
        try:
            return self._conclude(shards)
        finally:
            self._concluded.set()

    def _of_this_machine(self, shards: list[int]) -> list[int]:
        return [shard for shard in shards if shard not in self.elsewhere]

    def _conclude(self, shards: list[int]) -> Conclusion:
        notes, incomplete = gather_shards(self.folder, self.notice.shards, self._of_this_machine(shards))
        events = self.notice.events
        unaudited = [
            why for event in events
            if (why := fetch_audit(self.folder, self.office, event, alone=self._alone and len(events) == 1))
        ]  # fmt: skip
        unaudited += [why for event in events if (why := fetch_orders(self.folder, self.office, event))]
        incomplete += [*self.elsewhere.values(), *self.failures]
        self.conclusion = conclude(self.folder, notes, incomplete, unaudited)
        if self._alone:
            write_run_report(self.folder)
        return self.conclusion

    def _describe(self, folder: Path, workloads: Sequence[str], event: str, options: Any) -> None:
        chosen = {name: getattr(options, name) for name in (*of_locust_files(workloads), *OF_LOCUST)}
        chosen["target"] = as_text(options.target)
        experiment = ByHand("-".join(workloads), event, self.office.url, chosen, describe(folder))
        write_json(folder / "experiment.json", experiment)


def _office(url: str, target: Target | None, options: Any, given: str | None) -> Offices | TargetOffice:
    if target is None:
        token = find_token(given, options.data)
        return Offices([Office(each, token) for each in (url, *addresses(options.nodes))])
    data = Path(options.into).resolve() / "data" if options.into else None
    return TargetOffice(target, url, is_own_host=bool(options.i_own_this_host), data=data)


def _make_events(office: Offices, notice: RunNotice, workloads: Sequence[str], options: Any) -> Any:
    """Make the events that are announced. Returns their hall in its canonical form, where the workloads need one.

    The number of its seats is the capacity then, whatever the options say.
    """
    hall = None
    if {kind.locust_file for kind in WORKLOADS.values() if kind.hall}.intersection(workloads):
        try:
            described = read_hall(options.hall)
        except ValueError as error:
            raise OfficeError(str(error)) from error
        hall, options.capacity = described.content, described.seats
    for each in notice.events:
        office.create_event(each, int(options.capacity), notice.opens_at, hall)
    return None if hall is None else office.hall(notice.event)


def _refuse_holding(workloads: Sequence[str]) -> None:
    holding = {kind.locust_file for kind in WORKLOADS.values() if kind.holds}.intersection(workloads)
    if holding:
        raise TargetError(
            f"the buyers of {locust_file(sorted(holding))} have tickets held, and a target file cannot say how: take "
            f"{locust_file(['buy'])}"
        )


def _ask_only_what_it_can(target: Target, options: Any) -> None:
    """The target file decides how many tickets there are; nothing is asked that the service does not offer."""
    options.capacity = target.capacity
    options.max_quantity = min(int(options.max_quantity), target.buy.max_quantity)
    if target.read is None:
        options.read_share = 0.0
    if not target.cancels_can_be_judged:
        options.cancel_share = 0.0


def _rounds_in(folder: Path) -> int:
    """How many rounds a folder holds already."""
    audits = rounds_of(path.stem.removeprefix("audit-") for path in folder.glob("audit-*.jsonl"))
    judged = rounds_of(load_conclusion(folder).verdict.events) if (folder / VERDICT).exists() else set()
    return max(len(audits), len(judged))


def _fresh_event(target: Target | None, rounds: int) -> str:
    """A name that no event has had: a service that is told the name must not know it yet."""
    if target is None:
        return f"buy-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    if target.makes_events:
        return f"{target.event}-{secrets.token_hex(4)}"
    return f"{target.event}-{rounds + 1}" if rounds else target.event
