"""Connects a locust file with the lab: its users are ``users.OfficeUser``, and it calls ``take_part(events, "buy")``.

Several files can be loaded at once (``locust -f loadtests``): their users buy tickets of the same events, and are
recorded and judged together. The options are those of all files; the chosen users decide what a test is like.

The life of a test, in which ``roles`` says what each locust process does:

1. ``test_start`` at the coordinator makes a fresh event and announces it in the parsed options, which locust itself
   sends to every worker together with the order to spawn users, also to one that joins late.
2. ``test_start`` at each process with users opens its shard of the history. The buyers buy until the event is sold out,
   and leave.
3. When all have left, the coordinator ends the test. So do Ctrl-C, ``--run-time`` and the page's stop button.
4. ``test_stopping`` at the master tells the workers to finish and waits for their shards: locust's own order to quit
   would come after the verdict.
5. ``test_stop`` at each process, when no user runs any more, closes its shard; at the coordinator it draws the verdict.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import gevent
from locust.env import Environment

from loadtests.lab.exit_status import ended_by, nobody_reads, write_what_fits
from loadtests.lab.experiment.load_options import add_options
from loadtests.lab.load.roles import ROLES, CoordinatorRole, Role, take_role
from loadtests.lab.load.verdict_tab import add_verdict_tab
from loadtests.lab.target.file import TargetError


def interrupt_only_main(after_s: float) -> None:
    """Let Ctrl-C end locust's main greenlet ``after_s`` seconds later; that stops the users in order.

    By default the exception is raised in the greenlet that is running, perhaps a buyer in the middle of a purchase.
    """
    hub: Any = gevent.get_hub()

    def interrupt() -> None:
        hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)

    gevent.signal_handler(signal.SIGINT, gevent.spawn_later, after_s, interrupt)


def _end_with_70_where_locust_crashes() -> None:
    """Python would end with 1, and 1 is *invalid*. Registered before locust's own handlers, so that it runs last."""
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
"""The workloads whose locust files are loaded."""


def take_part(events: Any, workload: str) -> None:
    """Register the listeners at locust's events, once for all locust files; each file calls it with its workload."""
    if workload not in _workloads:
        _workloads.append(workload)
    if len(_workloads) > 1:
        return
    write_what_fits()
    _end_with_70_where_locust_crashes()

    def init(environment: Environment, **_: Any) -> None:
        # The hub's clock has stood still while locust was imported; --run-time would count from before that.
        gevent.get_hub().loop.update_now()
        try:
            role = take_role(environment)
            interrupt_only_main(role.interrupted_after_s)
            role.listen()
            if isinstance(role, CoordinatorRole) and environment.web_ui is not None:
                # A target file that cannot be read is reported when a test is to start.
                with contextlib.suppress(TargetError):
                    role.decide_host()
                add_verdict_tab(environment.web_ui, role)
        except Exception as error:
            sys.exit(ended_by(error))

    def each(act: Callable[[Role], None]) -> Callable[..., None]:
        def listener(**_: Any) -> None:
            for role in ROLES.values():
                role.unless_it_fails(partial(act, role))

        return listener

    def user_error(user_instance: Any, exception: Exception, **_: Any) -> None:
        if hasattr(getattr(user_instance, "user", user_instance), "workload"):  # of a stranger's users nothing is known
            for role in ROLES.values():
                role.fail(exception)

    def quit_(**_: Any) -> None:
        try:
            for role in ROLES.values():
                if role.environment.web_ui is None:
                    role.say_verdict()
        except BrokenPipeError:
            sys.exit(nobody_reads())
        except Exception as error:
            sys.exit(ended_by(error))

    # Locust logs what a listener raises, and goes on: so nothing is raised, and a fault has a status of its own.
    events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser, _workloads))
    events.init.add_listener(init)
    events.test_start.add_listener(lambda environment, **_: ROLES[environment].start())
    events.user_error.add_listener(user_error)
    events.spawning_complete.add_listener(each(lambda role: role.look_who_left()))
    events.cpu_warning.add_listener(each(lambda role: role.locust_warned()))
    events.test_stopping.add_listener(each(lambda role: role.stopping()))
    events.test_stop.add_listener(each(lambda role: role.stopped()))
    events.quitting.add_listener(each(lambda role: role.quitting()))
    events.quit.add_listener(quit_)
