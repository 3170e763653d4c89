"""The role of a locust process in the tests that it runs: it is alone, or the master, or one of the master's workers.

A single process both coordinates a test and has its users. With ``--processes`` or ``--master`` the master coordinates
and the workers have the users. ``hooks`` says when each method is called; it tells the life of a test.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

import gevent
import msgspec
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from loadtests.lab.exit_status import EXIT_LAB_FAILED, lab_failed
from loadtests.lab.history.arrivals import ArrivalStats
from loadtests.lab.history.shards import RunNotice
from loadtests.lab.load.client import ClientContext
from loadtests.lab.load.coordinator import Coordinator
from loadtests.lab.load.shard_writer import ShardWriter
from loadtests.lab.load.stages import Stages
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.text import conclusion_text
from loadtests.lab.target.file import TargetError, read_target

_log = logging.getLogger("lastseat")
_LEFT, _FINISH, _ELSEWHERE = "last_seat_left", "last_seat_finish", "last_seat_elsewhere"
_FAILED = "last_seat_failed"
_EXIT_NOTHING = 2
_SPARE_S = 10.0


class Role:
    """What every role answers to, and the users of this process, where it has some."""

    interrupted_after_s: ClassVar[float] = 0.0
    """Ctrl-C reaches all processes of a terminal; this process ends this many seconds later."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner: Any = environment.runner
        self.options = cast(Any, environment.parsed_options)
        # Locust sends all options to every process that says it is a worker. Only the coordinating one needs the token.
        self.options.admin_token = ""
        self.shard: ShardWriter | None = None
        self.failed = False
        """Whether an unforeseen error happened here or in a worker."""

    @property
    def context(self) -> ClientContext:
        """What the buyers of this process share."""
        if self.shard is None:
            raise RuntimeError("buyers share nothing before the test has started")
        return self.shard.context

    def listen(self) -> None:
        """Register for the messages of the other locust processes."""

    def start(self) -> None:
        """``test_start``: make the event, then open the users' shard of the history."""
        self.failed = False
        self.unless_it_fails(self._start)

    def note_arrivals(self, stats: ArrivalStats) -> None:
        """Keep what became of one user's stream of arrivals."""
        if self.shard is not None:
            self.shard.arrivals.append(stats)

    def look_who_left(self) -> None:
        """A buyer of this process has left, or all have been spawned: the sale may be over."""
        if self.shard is not None and self.shard.context.gone >= self.runner.user_count:
            self._clients_left(self.shard.context.gone)

    def locust_warned(self) -> None:
        """``cpu_warning``: locust found this process busy."""
        if self.shard is not None:
            self.shard.locust_warned()

    def stopping(self) -> None:
        """``test_stopping``: the buyers are to finish."""
        if self.shard is not None:
            self.shard.context.over.set()

    def stopped(self) -> None:
        """``test_stop``: no user runs any more."""
        if self.shard is not None:
            self.shard.close()

    def quitting(self) -> None:
        """``quitting``: whatever ended locust."""

    def say_verdict(self) -> None:
        """Print the last verdict; the last thing on the screen."""

    def unless_it_fails(self, act: Callable[[], object]) -> None:
        """Do something of the lab's own; an error goes to ``fail``."""
        try:
            act()
        except StopUser:
            raise
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the test with 70 after an unforeseen error; what was recorded is kept."""
        if not self.failed:
            lab_failed(error)
            index = max(getattr(self.runner, "worker_index", 0), 0)
            self.failed = True
            self._has_failed(f"locust process {index} failed: {type(error).__name__}: {error}")

    def _start(self) -> None:
        raise NotImplementedError

    def _clients_left(self, count: int) -> None:
        raise NotImplementedError

    def _has_failed(self, how: str) -> None:
        raise NotImplementedError

    def _open_shard(self, index: int) -> ShardWriter:
        notice = msgspec.convert(self.options.last_seat_notice, type=RunNotice)
        self.shard = ShardWriter(notice, index, self.options)
        return self.shard


class WorkerRole(Role):
    """Has users, writes their shard of the history, and reports to the master."""

    # The master ends the test. If a worker ended first, locust would start its users anew in the other workers, which
    # are just stopping theirs.
    interrupted_after_s = 5.0

    def listen(self) -> None:
        # In a greenlet of its own: stopping waits for users, and messages must go on meanwhile.
        self.runner.register_message(_FINISH, self._finish, concurrent=True)

    def stopped(self) -> None:
        super().stopped()
        # Locust's worker sleeps this long before it reports that it is ready again; its users have stopped already.
        if self.shard is not None:
            self.environment.stop_timeout = 0

    def _start(self) -> None:
        index = max(self.runner.worker_index, 0)
        if elsewhere := self._open_shard(index).elsewhere:
            where = f"locust process {self.runner.worker_index} keeps its part in {elsewhere}"
            self.runner.send_message(_ELSEWHERE, {"shard": self.runner.worker_index, "where": where})

    def _clients_left(self, count: int) -> None:
        self.runner.send_message(_LEFT, {"count": count})

    def _has_failed(self, how: str) -> None:
        self.runner.send_message(_FAILED, {"how": how})

    def _finish(self, **_: Any) -> None:
        """The master ends the test. After Ctrl-C this worker is stopping already, and must not stop twice."""
        if self.runner.state in {"spawning", "running"}:
            self.runner.stop()


class CoordinatorRole(Role):
    """Makes the event, ends the test when all buyers have left, and draws the verdict: one process or the master."""

    def __init__(self, environment: Environment) -> None:
        self._token: str = cast(Any, environment.parsed_options).admin_token
        super().__init__(environment)
        if self.options.stages:
            environment.shape_class = Stages(self.options.stages)
        self.url = ""
        """The service under test, as given at the start; locust's page cannot change it."""
        self.coordinator: Coordinator | None = None
        self.trouble = ""
        self._opening = self._ending = False

    @property
    def judging(self) -> bool:
        """Whether a test was started and has no verdict yet."""
        return self._opening or (self.coordinator is not None and self.coordinator.conclusion is None)

    def start(self) -> None:
        self._ending = False
        super().start()
        if self.failed:
            raise gevent.GreenletExit

    def stopped(self) -> None:
        super().stopped()
        if self.coordinator is not None:
            self._conclude(self.coordinator)

    def quitting(self) -> None:
        """``quitting``: whatever ended locust, a running test is ended in order first."""
        if self.judging:
            self.runner.stop()
        if self.judging and self.coordinator is not None:
            # The last worker has gone, and with it locust's own idea that a test was running.
            self._conclude(self.coordinator)
        if self.environment.process_exit_code is None and self.environment.web_ui is None:
            self.environment.process_exit_code = _EXIT_NOTHING
            _log.error("nothing was recorded: no test ran to its end, so there is no verdict")

    def say_verdict(self) -> None:
        if self.coordinator is not None and self.coordinator.conclusion is not None:
            # With locust's --json, standard output is JSON alone.
            stream = sys.stderr if self.options.json else sys.stdout
            print(conclusion_text(self.coordinator.conclusion), file=stream, flush=True)

    def decide_host(self) -> None:
        """Decide where load and token are sent, for this process and its users. Raises ``TargetError``."""
        self.url = self.url or (self.environment.host or self._default_host()).rstrip("/")
        self.environment.host = self.url
        for user_class in self.environment.user_classes:
            user_class.host = self.url

    def _start(self) -> None:
        workloads = sorted({kind.workload for kind in self.environment.user_classes if hasattr(kind, "workload")})
        try:
            self.decide_host()
            self.trouble, self.coordinator, self._opening = "", None, True
            self.coordinator = Coordinator(self.url, self.options, workloads, self._token)
        except (OfficeError, TargetError) as error:
            self._give_up(str(error))
        finally:
            self._opening = False
        self.coordinator.notice.users = max(1, self.runner.target_user_count)
        self.options.last_seat_notice = msgspec.to_builtins(self.coordinator.notice)
        for event in self.coordinator.notice.events:
            _log.info("event %s with %s tickets is on sale", event, self.options.capacity)

    def _default_host(self) -> str:
        """The target file's address, else the default address of an office."""
        if not self.options.target:
            return next((kind.host for kind in self.environment.user_classes if kind.host), "")
        target = read_target(Path(self.options.target))
        if not target.url:
            raise TargetError(f"{self.options.target} says how to start the service, not where it is: name it with -H")
        return target.url

    def _give_up(self, message: str) -> NoReturn:
        """Without an event there is no load. Ends locust, or the test in its page, and the greenlet that starts it."""
        self.trouble = message
        self.environment.process_exit_code = _EXIT_NOTHING
        _log.error("the test was not started, nothing was recorded: %s", message)
        if self.environment.web_ui is None:
            gevent.spawn(self.runner.quit)
        else:
            self.runner.update_state("stopped")
        raise gevent.GreenletExit

    def _has_failed(self, how: str) -> None:
        self.failed, self.trouble = True, f"the lab failed; its log says how ({how})"
        self.environment.process_exit_code = EXIT_LAB_FAILED
        if self.coordinator is not None:
            self.coordinator.failures.append(how)
        self._end()

    def _clients_left(self, count: int, shard: str = "local") -> None:
        if self.coordinator is None or self._ending or self.runner.state != "running":
            return
        if self.coordinator.clients_left(shard, count) >= self.runner.target_user_count:
            self._ending = True
            _log.info("sold out, and every buyer has left")
            self._end()

    def _end(self) -> None:
        """End the test, and locust with it unless it has a page."""
        gevent.spawn(self.runner.quit if self.environment.web_ui is None else self.runner.stop)

    def _conclude(self, coordinator: Coordinator) -> None:
        try:
            conclusion = coordinator.conclude(self._shards(coordinator))
        except Exception as error:
            self.fail(error)
            self.coordinator = None
            return
        if conclusion is not None:
            self.environment.process_exit_code = EXIT_LAB_FAILED if self.failed else conclusion.exit_status
            if self.environment.web_ui is not None:
                self.say_verdict()

    def _shards(self, coordinator: Coordinator) -> list[int]:
        """The numbers of the processes that have users."""
        raise NotImplementedError


class LocalRole(CoordinatorRole):
    """Locust's only process: it coordinates, and the users are its own."""

    def _start(self) -> None:
        super()._start()
        self._open_shard(0)

    def _shards(self, coordinator: Coordinator) -> list[int]:
        return [0]


class MasterRole(CoordinatorRole):
    """Coordinates and has no users: it hears of them by messages of the workers."""

    def listen(self) -> None:
        hear = self.runner.register_message
        hear(_LEFT, lambda environment, msg: self._clients_left(msg.data["count"], msg.node_id))
        hear(_FAILED, lambda environment, msg: self._has_failed(**msg.data))
        hear(_ELSEWHERE, lambda environment, msg: self._shard_elsewhere(**msg.data))

    def stopping(self) -> None:
        """Tell the workers to finish, and wait until their shards are closed."""
        if self.coordinator is not None:
            self.runner.send_message(_FINISH)
            shards = self._shards(self.coordinator)
            self.coordinator.wait_for_shards(shards, self.environment.stop_timeout + _SPARE_S)

    def _shard_elsewhere(self, shard: int, where: str) -> None:
        if self.coordinator is not None:
            self.coordinator.elsewhere[shard] = where

    def _shards(self, coordinator: Coordinator) -> list[int]:
        known = {self.runner.get_worker_index(client) for client in self.runner.clients}
        return sorted(known | {int(shard.stem) for shard in coordinator.notice.shards.glob("*.jsonl")})


ROLES: dict[Environment, Role] = {}
"""The role of this locust process, which has one environment."""


def take_role(environment: Environment) -> Role:
    """Give this locust process its role, for as long as it lives."""
    runner = environment.runner
    kind = (
        MasterRole
        if isinstance(runner, MasterRunner)
        else WorkerRole
        if isinstance(runner, WorkerRunner)
        else LocalRole
    )
    ROLES[environment] = kind(environment)
    return ROLES[environment]
