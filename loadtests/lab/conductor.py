"""One per test: makes the event, knows when the sale is over, puts the parts together, draws the verdict.

It sits in the locust process that the user talks to: the only one, or the master. Workers write files, not messages;
only that their customers have left is told by message, because that has to be quick.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec

from loadtests.lab.conclusion import Conclusion, conclude, fetch_audit
from loadtests.lab.experiment import Experiment, Result, Workload
from loadtests.lab.launcher import Elsewhere
from loadtests.lab.machine import Machine, describe
from loadtests.lab.measure import measure
from loadtests.lab.office import Office, OfficeError, find_token
from loadtests.lab.options import OF_LOCUST, OF_THE_SALE
from loadtests.lab.parts import HISTORY, Notice, gather_parts
from loadtests.lab.paths import new_results_folder
from loadtests.lab.promise import Promise
from loadtests.lab.report.page import write_page

_POLL_S = 0.02


class BuyExperiment(msgspec.Struct):
    """``experiment.json`` of a run that was started by hand: enough to start it again."""

    experiment: str
    event: str
    url: str
    options: dict[str, Any]
    machine: Machine


class Conductor:
    """One run, from the fresh event to the verdict."""

    def __init__(self, url: str, options: Any) -> None:
        """Make a fresh lab event and a folder for it. Raises ``OfficeError``: then no load may start."""
        event = f"buy-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self.office = Office(url, find_token(options.admin_token, options.data))
        self.office.create_event(event, int(options.capacity))
        self._options = options
        self._alone = not options.into
        if self._alone:
            folder = new_results_folder(options.results, "buy")
            self._describe(folder, event, options)
        else:
            folder = Path(options.into).resolve()
            folder.mkdir(parents=True, exist_ok=True)
        self.notice = Notice(event, str(folder), len(list(folder.glob("audit-*.jsonl"))))
        self.notice.parts.mkdir()
        self.folder = folder
        self.elsewhere: list[str] = []
        self.conclusion: Conclusion | None = None
        self._gone: dict[str, int] = {}
        self._concluding = False

    def customers_left(self, crew: str, count: int) -> int:
        """Note how many customers of a crew have left; returns how many have in all."""
        self._gone[crew] = count
        return sum(self._gone.values())

    def wait_for_parts(self, crews: list[int], within_s: float) -> None:
        """Wait until every crew of this machine has closed its part. Files tell: a dead connection does not matter."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and not self.elsewhere:
            if all((self.notice.parts / f"{crew}.note").exists() for crew in crews):
                return
            gevent.sleep(_POLL_S)

    def conclude(self, crews: list[int]) -> Conclusion | None:
        """Draw the verdict, once; a second caller gets None. To be called when no crew writes any more."""
        if self._concluding:
            return None
        self._concluding = True
        loads, incomplete = gather_parts(self.folder, self.notice.parts, crews)
        no_audit = fetch_audit(self.folder, self.office, self.notice.event, alone=self._alone)
        self.conclusion = conclude(self.folder, loads, [*incomplete, *self.elsewhere], [no_audit] if no_audit else [])
        if self._alone:
            self._write_page(self.conclusion)
        return self.conclusion

    def _write_page(self, conclusion: Conclusion) -> None:
        """The same page as the demo's, of the one cell that there was; how the office runs is not known here."""
        guard = "unknown"
        with contextlib.suppress(OfficeError):
            guard = self.office.guard().guard
        result = Result(
            experiment=Experiment(
                service=Elsewhere(url=self.office.url, guard=guard),
                workload=Workload(
                    capacity=int(self._options.capacity),
                    buyers=int(self._options.num_users or 1),
                    rounds=1,
                    seed=int(self._options.seed),
                ),
            ),
            folder=self.folder,
            conclusion=conclusion,
            measures=measure(self.folder / HISTORY),
            promise=Promise.EITHER,
        )
        write_page(
            self.folder / "report.html",
            [result],
            describe(self.folder),
            when=time.strftime("%Y-%m-%d %H:%M"),
            command=shlex.join(["locust", *sys.argv[1:]]),
        )

    def _describe(self, folder: Path, event: str, options: Any) -> None:
        chosen = {name: getattr(options, name) for name in (*OF_THE_SALE, *OF_LOCUST)}
        experiment = BuyExperiment("buy", event, self.office.url, chosen, describe(folder))
        (folder / "experiment.json").write_bytes(msgspec.json.format(msgspec.json.encode(experiment)) + b"\n")
