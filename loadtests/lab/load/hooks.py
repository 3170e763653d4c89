"""How a locust file takes part: users that are ``users.OfficeUser``, and ``load.take_part(events, "buy")``.

Several files can be loaded at once (``locust -f loadtests``): their users buy of the same events, and are recorded and
judged together. The options are those of all files; what a test is like is decided by the users that were chosen.

Locust runs in three roles. A single process both conducts the test and has users; with ``--processes`` or
``--master`` the master conducts and the workers have users. The life of a test:

1. ``test_start`` at the conductor makes a fresh event and tells everybody through the parsed options, which locust
   itself sends to every worker together with the order to spawn users, also to one that joins late.
2. ``test_start`` at each crew opens its part of the history. The customers buy until it is sold out, and leave.
3. When all have left, the conductor ends the test. So do Ctrl-C, ``--run-time`` and the page's stop button.
4. ``test_stopping`` at the master tells the crews to finish and waits for their parts: locust's own order to quit
   would come after the verdict.
5. ``test_stop`` at each crew, when no user runs any more, closes its part; at the conductor it draws the verdict.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import gevent
import msgspec
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from loadtests.lab.exit_status import EXIT_LAB_FAILED, ended_by, lab_failed, nobody_reads, write_what_fits
from loadtests.lab.experiment.load_options import add_options
from loadtests.lab.history.arrivals import Arrived
from loadtests.lab.history.shards import RunNotice
from loadtests.lab.load.coordinator import Coordinator
from loadtests.lab.load.shard_writer import ShardWriter
from loadtests.lab.load.verdict_tab import add_verdict_tab
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.report.text import conclusion_text
from loadtests.lab.target.file import TargetError, read_target

_log = logging.getLogger("lastseat")
_LEFT, _FINISH, _ELSEWHERE = "last_seat_left", "last_seat_finish", "last_seat_elsewhere"
_FAILED = "last_seat_failed"
_EXIT_NOTHING = 2
_SPARE_S = 10.0
_MASTER_FIRST_S = 5.0


class LoadTest:
    """This locust process's share in the tests that it runs, one after another."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner: Any = environment.runner
        self.options = cast(Any, environment.parsed_options)
        self.conducts = not isinstance(self.runner, WorkerRunner)
        self.has_users = not isinstance(self.runner, MasterRunner)
        # Locust sends all options to whoever says to be a worker. Only who conducts needs the token, and keeps it.
        self._token: str = self.options.admin_token
        self.options.admin_token = ""
        self.url = ""
        """The service that all tests of this locust are of: what was given at the start, whatever a page says."""
        self.conductor: Coordinator | None = None
        self.crew: ShardWriter | None = None
        self.trouble = ""
        self.failed = False
        """Whether something happened here, or in a worker, that nobody foresaw."""
        self._opening = False
        self._ending = False

    @property
    def sale(self) -> Any:
        """What the customers of this process share."""
        if self.crew is None:
            raise RuntimeError("there is no sale before the test has started")
        return self.crew.sale

    @property
    def judging(self) -> bool:
        """Whether a test was started whose verdict is not there yet."""
        return self._opening or (self.conductor is not None and self.conductor.conclusion is None)

    def start(self) -> None:
        """``test_start``: the event, then the crew."""
        self._ending = self.failed = False
        if self.conducts:
            try:
                self._open_event()
            except (OfficeError, TargetError) as error:
                self._give_up(str(error))
        if self.has_users:
            notice = msgspec.convert(self.options.last_seat_notice, type=RunNotice)
            self.crew = ShardWriter(notice, max(self.runner.worker_index, 0), self.options)
            if self.crew.elsewhere and not self.conducts:
                where = f"locust process {self.runner.worker_index} keeps its part in {self.crew.elsewhere}"
                self.runner.send_message(_ELSEWHERE, {"crew": self.runner.worker_index, "where": where})

    def look_who_left(self) -> None:
        """A customer of this process left, or all have been spawned: perhaps it is over."""
        if self.crew is None or self.crew.sale.gone < self.runner.user_count:
            return
        if self.conducts:
            self._customers_left("local", self.crew.sale.gone)
        else:
            self.runner.send_message(_LEFT, {"count": self.crew.sale.gone})

    def note_arrived(self, arrived: Arrived) -> None:
        """What became of one user's stream of arrivals."""
        if self.crew is not None:
            self.crew.arrived.append(arrived)

    def stopping(self) -> None:
        """``test_stopping``: the customers are to finish; a master has their parts closed before it goes on."""
        if self.crew is not None:
            self.crew.sale.over.set()
        if self.conductor is not None and not self.has_users:
            self.runner.send_message(_FINISH)
            self.conductor.wait_for_parts(self._crews(), self.environment.stop_timeout + _SPARE_S)

    def stopped(self) -> None:
        """``test_stop``: no user runs any more."""
        if self.crew is not None:
            self.crew.close()
            # Locust's worker sleeps this long before it reports that it is ready again; its users have stopped already.
            if not self.conducts:
                self.environment.stop_timeout = 0
        if self.conductor is not None:
            self._conclude(self.conductor)

    def locust_warned(self) -> None:
        """``cpu_warning``: locust found this process busy."""
        if self.crew is not None:
            self.crew.locust_warned()

    def quitting(self) -> None:
        """``quitting``: whatever ended locust, a test that runs is ended in order first."""
        if self.judging:
            self.runner.stop()
        if self.judging and self.conductor is not None:
            # The last worker has gone, and with it locust's own idea that a test was running.
            self._conclude(self.conductor)
        if self.conducts and self.environment.process_exit_code is None and self.environment.web_ui is None:
            self.environment.process_exit_code = _EXIT_NOTHING
            _log.error("nothing was recorded: no test ran to its end, so there is no verdict")

    def say_verdict(self) -> None:
        """Print the last verdict; the last thing on the screen."""
        if self.conductor is not None and self.conductor.conclusion is not None:
            # With locust's --json, standard output is JSON alone.
            stream = sys.stderr if self.options.json else sys.stdout
            print(conclusion_text(self.conductor.conclusion), file=stream, flush=True)

    def listen(self) -> None:
        """Hear what the other locust processes say."""
        if isinstance(self.runner, MasterRunner):
            self.runner.register_message(
                _LEFT, lambda environment, msg: self._customers_left(msg.node_id, msg.data["count"])
            )
            self.runner.register_message(_FAILED, lambda environment, msg: self._has_failed(msg.data["how"]))
            self.runner.register_message(_ELSEWHERE, lambda environment, msg: self._part_elsewhere(**msg.data))
        elif isinstance(self.runner, WorkerRunner):
            # In a greenlet of its own: stopping waits for users, and messages must go on meanwhile.
            self.runner.register_message(_FINISH, lambda environment, msg: self._finish(), concurrent=True)

    def decide_host(self) -> None:
        """Keep the address that load and token go to, for this process and its users. Raises ``TargetError``."""
        self.url = self.url or (self.environment.host or self._default_host()).rstrip("/")
        self.environment.host = self.url
        for user_class in self.environment.user_classes:
            user_class.host = self.url

    def _open_event(self) -> None:
        self.decide_host()
        self.trouble, self.conductor, self._opening = "", None, True
        try:
            self.conductor = Coordinator(self.url, self.options, self._workloads(), self._token)
        finally:
            self._opening = False
        self.conductor.notice.users = max(1, self.runner.target_user_count)
        self.options.last_seat_notice = msgspec.to_builtins(self.conductor.notice)
        for event in self.conductor.notice.events:
            _log.info("event %s with %s tickets is on sale", event, self.options.capacity)

    def _workloads(self) -> list[str]:
        """Those of the users that take part in this test: of all, or of who was picked."""
        return sorted({kind.workload for kind in self.environment.user_classes if hasattr(kind, "workload")})

    def _default_host(self) -> str:
        """Where a target file says that the service is, else where an office is by default."""
        if not self.options.target:
            return next((kind.host for kind in self.environment.user_classes if kind.host), "")
        target = read_target(Path(self.options.target))
        if not target.url:
            raise TargetError(f"{self.options.target} says how to start the service, not where it is: name it with -H")
        return target.url

    def _give_up(self, message: str) -> None:
        """No event, no load. Ends locust, or the test in its web page, and the greenlet that wanted to start it."""
        self.trouble = message
        self.environment.process_exit_code = _EXIT_NOTHING
        _log.error("the test was not started, nothing was recorded: %s", message)
        if self.environment.web_ui is None:
            gevent.spawn(self.runner.quit)
        else:
            self.runner.update_state("stopped")
        raise gevent.GreenletExit

    def unless_it_fails(self, act: Callable[[], object]) -> None:
        """Do something of the lab's own; see ``fail``."""
        try:
            act()
        except StopUser:
            raise
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Something happened that nobody foresaw: the test is ended, with 70; what was recorded is kept."""
        if not self.failed:
            lab_failed(error)
            index = max(getattr(self.runner, "worker_index", 0), 0)
            how = f"locust process {index} failed: {type(error).__name__}: {error}"
            if self.conducts:
                self._has_failed(how)
            else:
                self.failed = True
                self.runner.send_message(_FAILED, {"how": how})

    def _has_failed(self, how: str) -> None:
        self.failed, self.trouble = True, f"the lab failed; its log says how ({how})"
        self.environment.process_exit_code = EXIT_LAB_FAILED
        if self.conductor is not None:
            self.conductor.failures.append(how)
        gevent.spawn(self.runner.quit if self.environment.web_ui is None else self.runner.stop)

    def _customers_left(self, crew: str, count: int) -> None:
        if self.conductor is None or self._ending or self.runner.state != "running":
            return
        if self.conductor.customers_left(crew, count) >= self.runner.target_user_count:
            self._ending = True
            _log.info("sold out, and every buyer has left")
            gevent.spawn(self.runner.quit if self.environment.web_ui is None else self.runner.stop)

    def _finish(self) -> None:
        """The master ends the test. Not where this worker is stopping already, after Ctrl-C: not twice."""
        if self.runner.state in {"spawning", "running"}:
            self.runner.stop()

    def _part_elsewhere(self, crew: int, where: str) -> None:
        if self.conductor is not None:
            self.conductor.elsewhere[crew] = where

    def _crews(self) -> list[int]:
        if self.has_users:
            return [0]
        known = {self.runner.get_worker_index(client) for client in self.runner.clients}
        known |= {int(part.stem) for part in self.conductor.notice.parts.glob("*.jsonl")} if self.conductor else set()
        return sorted(known)

    def _conclude(self, conductor: Coordinator) -> None:
        try:
            conclusion = conductor.conclude(self._crews())
        except Exception as error:
            self.fail(error)
            self.conductor = None
            return
        if conclusion is not None:
            self.environment.process_exit_code = EXIT_LAB_FAILED if self.failed else conclusion.exit_status
            if self.environment.web_ui is not None:
                self.say_verdict()


_tests: dict[Environment, LoadTest] = {}


def test_of(environment: Environment) -> LoadTest:
    """The part that this locust process has."""
    return _tests[environment]


def interrupt_only_main(*, has_master: bool) -> None:
    """Let Ctrl-C end locust's main greenlet, which stops the users in order.

    By default the exception strikes whichever greenlet is running, a buyer in the middle of a purchase for example.
    Ctrl-C comes to all processes of a terminal: one that has a master lets it end the test, for a worker that leaves by
    itself has its users started anew in the others, which are just stopping theirs.
    """
    hub: Any = gevent.get_hub()

    def interrupt() -> None:
        hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)

    if has_master:
        gevent.signal_handler(signal.SIGINT, lambda: gevent.spawn_later(_MASTER_FIRST_S, interrupt))
    else:
        gevent.signal_handler(signal.SIGINT, interrupt)


def _end_with_70_where_locust_falls_over() -> None:
    """Python would end with 1, and 1 is *invalid*. Registered before locust's own, so this is the last at the exit."""
    crashed: list[int] = []

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            crashed.append(ended_by(error))
        else:
            sys.__excepthook__(kind, error, trace)

    def end() -> None:
        if crashed:
            os._exit(crashed[0])

    sys.excepthook = note
    atexit.register(end)


_workloads: list[str] = []
"""Those whose locust files are loaded."""


def take_part(events: Any, workload: str) -> None:
    """Register everything with locust's events, once for all locust files; to be called by each, with its workload."""
    if workload not in _workloads:
        _workloads.append(workload)
    if len(_workloads) > 1:
        return
    write_what_fits()
    _end_with_70_where_locust_falls_over()

    def init(environment: Environment, **_: Any) -> None:
        # The hub's clock has stood still while locust was imported; --run-time would count from before that.
        gevent.get_hub().loop.update_now()
        try:
            test = _tests[environment] = LoadTest(environment)
            interrupt_only_main(has_master=not test.conducts)
            test.listen()
            if environment.web_ui is not None:
                # A target file that cannot be read is said when a test is to start.
                with contextlib.suppress(TargetError):
                    test.decide_host()
                add_verdict_tab(environment.web_ui, test)
        except Exception as error:
            sys.exit(ended_by(error))

    def start(environment: Environment, **_: Any) -> None:
        test = _tests[environment]
        test.unless_it_fails(test.start)
        if test.failed and test.conducts:
            raise gevent.GreenletExit

    def each(act: Callable[[LoadTest], None]) -> Callable[..., None]:
        def listener(**_: Any) -> None:
            for test in _tests.values():
                test.unless_it_fails(partial(act, test))

        return listener

    def user_error(user_instance: Any, exception: Exception, **_: Any) -> None:
        if hasattr(getattr(user_instance, "user", user_instance), "workload"):  # of a stranger's users nothing is known
            for test in _tests.values():
                test.fail(exception)

    def quit_(**_: Any) -> None:
        try:
            for test in _tests.values():
                if test.environment.web_ui is None:
                    test.say_verdict()
        except BrokenPipeError:
            sys.exit(nobody_reads())
        except Exception as error:
            sys.exit(ended_by(error))

    # Locust logs what a listener raises, and goes on: so nothing is raised, and a fault has a status of its own.
    events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser, _workloads))
    events.init.add_listener(init)
    events.test_start.add_listener(start)
    events.user_error.add_listener(user_error)
    events.spawning_complete.add_listener(each(LoadTest.look_who_left))
    events.cpu_warning.add_listener(each(LoadTest.locust_warned))
    events.test_stopping.add_listener(each(LoadTest.stopping))
    events.test_stop.add_listener(each(LoadTest.stopped))
    events.quitting.add_listener(each(LoadTest.quitting))
    events.quit.add_listener(quit_)
