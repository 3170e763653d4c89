"""An experiment as data (service, workload, seed, fault), and how it is run and judged.

``run`` starts a fresh gunicorn on an empty data directory and holds the rounds one after another, each with a fresh
event and a locust of its own. Then it kills everything with ``kill -9``, starts it again on what the disk kept and
reads the audits once more. No round is repeated: every one that was begun is in the history and in the verdict.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from loadtests.lab.checks.verdict import CheckResult, Verdict, worst
from loadtests.lab.experiment.expectation import Expectation, Met, expectation_of, met
from loadtests.lab.experiment.knobs import WORKLOADS, Workload, locust_options
from loadtests.lab.experiment.measurement import Measures, measure
from loadtests.lab.experiment.result import VERDICT, Conclusion, load_conclusion
from loadtests.lab.faults import happened as faults_file
from loadtests.lab.faults import leavings
from loadtests.lab.faults.base import FaultUnfit, NotInjected
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.injection import Faults
from loadtests.lab.faults.schedule import names_of, read_injections
from loadtests.lab.history.shards import HISTORY, rounds_of
from loadtests.lab.paths import write_json
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import remove_temporary
from loadtests.lab.servers.machine import Machine, describe
from loadtests.lab.servers.nodes import RunningNodes
from loadtests.lab.servers.office import NotReady, RunningOffice, Service, ServiceRefused
from loadtests.lab.servers.resources import CpuTime, Growth, Watch
from loadtests.lab.target.masking import without_secrets
from loadtests.lab.target.server import RunningTarget
from loadtests.lab.target.tables import Target
from service.catalogue import CUT_HOLDS_SHORT

_POLL_S = 0.05
_SPARE_S = 60.0
_VERDICT_STATUS = frozenset({0, 1, 2})


Server = RunningOffice | RunningNodes | RunningTarget


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: a service under a workload. With a ``target``, that service takes the ticket office's place."""

    service: Service = Service()
    workload: Workload = Workload()
    variant: str = ""
    fault: str = ""
    """What is injected into every round and when, as ``faults.schedule`` reads it; empty for nothing."""
    fault_every_s: float = 0.0
    """How long after its healing each fault is injected again; 0: once a round."""
    target: Target | None = None

    @property
    def name(self) -> str:
        """The name of its results folder: worker, store, guard, and what else tells two such cells apart."""
        service = self.service
        if self.target is not None:
            return self.target.name or self.target.event
        nodes = "" if service.nodes == 1 else f"{service.nodes}-nodes"
        faults = "+".join(names_of(self.fault))
        parts = (service.worker, service.store.partition(":")[0], service.guard, nodes, self.variant, faults)
        return "-".join(part for part in parts if part)

    @property
    def expectation(self) -> Expectation:
        """How the run has to come out. Of a target nothing is known: either outcome is right."""
        if self.target is not None:
            return Expectation.EITHER
        expected = expectation_of(self.service, self.fault)
        cut_short = WORKLOADS[self.workload.kind].holds and set(CUT_HOLDS_SHORT).intersection(names_of(self.fault))
        return Expectation.EITHER if cut_short and expected is Expectation.EXACT else expected


class ExperimentRecord(msgspec.Struct, kw_only=True):
    """``experiment.json``: enough to run it again, and on what it ran."""

    service: Service
    workload: Workload
    expectation: str = msgspec.field(name="promise")
    machine: Machine
    began: str
    fault: str = ""
    fault_every_s: float = 0.0
    target: Target | None = None


class Result(msgspec.Struct, kw_only=True):
    """The result of an experiment."""

    experiment: Experiment
    folder: Path
    conclusion: Conclusion
    measures: Measures
    expectation: Expectation
    cpu: CpuTime = CpuTime()
    """What the office and its engine used during the rounds."""
    growth: Growth | None = None
    """Memory, descriptors and threads of the office's workers, at the beginning of the load and at its end."""

    @property
    def verdict(self) -> Verdict:
        return self.conclusion.verdict

    @property
    def capacity(self) -> int:
        """The tickets on sale, over all rounds."""
        return len(self.verdict.events) * self.experiment.workload.capacity

    @property
    def rounds(self) -> int:
        """How many rounds were held."""
        return len(rounds_of(self.verdict.events))

    @property
    def rounds_wrong(self) -> int:
        """Number of rounds in which an event went wrong: see ``EventCounts.is_wrong``."""
        return len(rounds_of(event for event, counts in self.verdict.events.items() if counts.is_wrong))

    @property
    def met(self) -> Met:
        return met(self.expectation, self.verdict.verdict, self.rounds_wrong)


class LabFailed(Exception):
    """The lab could not do its work, which says nothing about the service. The message says where to look."""


class SettingsRefused(LabFailed):
    """The service does not run with the settings of the experiment; the message is its own."""


OnStep = Callable[[str, Path], None]
"""Called with what is being done, and the folder in which a running round writes."""


def run(
    experiment: Experiment,
    folder: Path,
    on_step: OnStep = lambda _doing, _folder: None,
    *,
    is_own_host: bool = False,
    report: Callable[[Path], object] = lambda _folder: None,
) -> Result:
    """Run an experiment in ``folder``, which keeps everything. Raises ``LabFailed``; nothing is left running.

    ``SettingsRefused``, a ``LabFailed``, means that the caller should change the settings. A target on another machine
    is refused unless ``is_own_host``. ``report`` writes the folder's report at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = ExperimentRecord(
        service=experiment.service.shown,
        workload=experiment.workload,
        expectation=experiment.expectation.value,
        machine=describe(folder),
        began=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        fault=experiment.fault,
        fault_every_s=experiment.fault_every_s,
        target=None if experiment.target is None else without_secrets(experiment.target)[0],
    )
    write_json(folder / "experiment.json", record)
    try:
        on_step("starting", folder)
        leavings.clean_up()
        with (
            contextlib.ExitStack() as at_the_end,
            _faults(experiment) as faults,
            _server(experiment, faults, folder, is_own_host) as server,
        ):
            faults.equip(server)
            if not isinstance(server, RunningTarget) and server.has_own_engine:
                folders = "\n".join(map(str, server.engine.temporary))
                at_the_end.enter_context(leavings.left_behind(remove_temporary, folders))
            before, address = _cpu(server), faults.address(server.url)
            with _watch(server) as watch:
                for number in range(1, experiment.workload.rounds + 1):
                    on_step(f"round {number} of {experiment.workload.rounds}", folder)
                    with _kept(folder, experiment) as happened, faults.injected(server, happened):
                        hold_sale(experiment.workload, server, folder, address)
            used = _cpu(server).since(before)
            conclusion = load_conclusion(folder)
            if not isinstance(server, RunningTarget) and experiment.service.survives:
                on_step("kill -9 and restart", folder)
                server.restart()
                conclusion = _with_restart(conclusion, server)
                server.kill()  # there are no more requests to finish
    except ServiceRefused as error:
        raise SettingsRefused(str(error)) from error
    except (NotReady, OfficeError, FaultUnfit, NotInjected, leavings.NotCleanedUp) as error:
        raise LabFailed(f"{experiment.name}: {error}") from error
    report(folder)
    return Result(
        experiment=experiment,
        folder=folder,
        conclusion=conclusion,
        measures=measure(folder / HISTORY, faults_file.read(folder)),
        expectation=experiment.expectation,
        cpu=used,
        growth=watch.growth() if watch else None,
    )


def _cpu(server: Server) -> CpuTime:
    """CPU time of the office; of another service nothing is known."""
    return server.cpu if isinstance(server, RunningOffice) else CpuTime()


def _faults(experiment: Experiment) -> Faults:
    return Faults(
        read_injections(experiment.fault),
        experiment.workload.capacity,
        experiment.fault_every_s,
        of_target=experiment.target is not None,
    )


@contextlib.contextmanager
def _kept(folder: Path, experiment: Experiment) -> Iterator[list[Happened]]:
    """What was injected in a round is added to the folder's record of it, also of a round that fails."""
    happened: list[Happened] = []
    try:
        yield happened
    finally:
        if experiment.fault:
            faults_file.keep(folder, [*faults_file.read(folder), *happened])


def _watch(server: Server) -> contextlib.AbstractContextManager[Watch | None]:
    """Watches the office's workers; which processes another service has is not known."""
    return Watch(lambda: server.pid) if isinstance(server, RunningOffice) else contextlib.nullcontext()


def _server(experiment: Experiment, faults: Faults, folder: Path, is_own_host: bool) -> Server:
    faults.refuse_missing()
    service = experiment.service if experiment.target else faults.adapt(experiment.service)
    faults.prepare(folder)
    if experiment.target is None:
        if service.nodes > 1:
            return RunningNodes(service, folder, faults.variables)
        return RunningOffice(service, folder, variables=faults.variables)
    return RunningTarget(
        experiment.target,
        folder,
        experiment.workload.capacity,
        is_own_host=is_own_host,
        variables=faults.variables,
    )


def hold_sale(workload: Workload, office: Server, folder: Path, address: str = "") -> None:
    """One round: a locust makes a fresh event, sells it out, and adds to the folder's history and verdict.

    The buyers get the ``address``, by default the office's own.
    """
    log, before = folder / "locust.log", _saved_at(folder / VERDICT)
    command, environment = _locust(workload, office, folder, address or office.url), _environment(office)
    locust = process.start(command, log=log, environment=environment, directory=folder)
    try:
        status = locust.wait(workload.limit_s + _SPARE_S)
    except subprocess.TimeoutExpired:
        raise LabFailed(f"locust did not end within {workload.limit_s + _SPARE_S:g} s; its log is {log}") from None
    finally:
        # After Ctrl-C locust ends its users, and draws the verdict of what was recorded.
        with process.undisturbed():
            process.end(locust, grace_s=10.0)
    if status not in _VERDICT_STATUS or _saved_at(folder / VERDICT) == before:
        raise LabFailed(f"locust ended with status {status}. Its log {log} ends:\n{process.log_tail(log)}")


def _saved_at(path: Path) -> int:
    """When a file was last written: a locust that crashed ends with 1, and leaves the verdict of earlier rounds."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _locust(workload: Workload, office: Server, folder: Path, address: str) -> list[str]:
    users = 1 if workload.rate else workload.buyers
    return [
        *(sys.executable, "-m", "locust", "--locustfile", str(WORKLOADS[workload.kind].path)),
        *("--headless", "--only-summary", "--host", address, "--into", str(folder)),
        *office.locust_options(folder),
        *("--users", str(users), "--spawn-rate", str(min(users, 100)), "--run-time", f"{workload.limit_s:g}s"),
        *locust_options(workload),
    ]


def _environment(office: Server) -> dict[str, str]:
    """The environment without variables that locust or the service would take for settings, and with the secrets that
    the record leaves out."""
    told = without_secrets(office.target)[1] if isinstance(office, RunningTarget) else {}
    return {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "LASTSEAT_"))} | told


def _with_restart(conclusion: Conclusion, office: RunningOffice | RunningNodes) -> Conclusion:
    """The conclusion with one more check: after the crash the audits are the same, byte for byte.

    They may list holds that have expired since: the office releases those without a request. Of an event whose audit
    could not be read before, nothing is known.
    """
    audits = {event: conclusion.folder / f"audit-{event}.jsonl" for event in conclusion.verdict.events}
    read = {event: path.read_bytes() for event, path in audits.items() if path.exists()}
    differing = [event for event, before in read.items() if not says_the_same(before, office.office.audit(event))]
    check = CheckResult(
        name="restart",
        verdict="invalid" if differing else "valid" if len(read) == len(audits) else "unknown",
        count=len(differing),
        why=f"after kill -9 and a restart the audit differs: {', '.join(differing)}" if differing else "",
    )
    verdict = conclusion.verdict
    verdict.checks.append(check)
    verdict.verdict = worst([verdict.verdict, check.verdict])
    conclusion.save()
    return conclusion


def says_the_same(before: bytes, after: bytes) -> bool:
    """Whether a later audit has the records of an earlier one, and after them only records of expired holds."""
    if before == after:
        return True
    _, *records = before.splitlines()
    _, *later = after.splitlines()
    if later[: len(records)] != records:
        return False
    return all(msgspec.json.decode(line)["kind"] == "expired" for line in later[len(records) :])
