"""The ceiling, and how far down from it each part of a purchase leads: the real application with parts taken away.

gunicorn runs ``loadtests.lab.bench.applications.stubbed:ceiling()``. There every line of a purchase runs but those
within ``BoxOffice.buy``: routing, validation, keys, fingerprint, the answer and its headers. So what is missing to
this rate is the cost of deciding, excluding and keeping, and nothing else. The other functions put some of it back.

The lab knows the service over HTTP alone. This module is an exception with a reason: there is no other way to take
parts out of the real application. Nothing of the lab imports it; only a gunicorn worker loads it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable

from flask import Flask

from service.app import create_app
from service.guards import Transaction
from service.rules.inventory import Record, Sell, Wish
from service.runtime.gevent import call_blocking
from service.sales.batch import Line, Purchases, Take
from service.sales.box_office import BoxOffice, Done
from service.sales.command_handler import AnswerTimes
from service.settings import from_environment
from service.stores.journal import ledger

DISK_S = 0.0003
"""The sleep in the place of the disk, or of all that a leader does."""

_DONE = Done(
    Record(
        version=1,
        kind="sold",
        key="stub",
        order="o0123456789abcdef",
        quantity=1,
        tickets=(1,),
        remaining=1,
        request="stub",
    ),
    replayed=False,
    times=AnswerTimes(epoch=1),
)


def ceiling() -> Flask:
    """A purchase is a constant."""
    return _application(lambda _office, _event, **_wanted: _DONE)


def in_line() -> Flask:
    """Purchases stand in line; the leader decides nothing and waits for nothing."""
    return _standing_in_line(lambda: None)


def waiting() -> Flask:
    """As ``in_line``, but the leader sleeps for as long as a disk takes, while the others wait."""
    return _standing_in_line(lambda: time.sleep(DISK_S))


def waiting_natively() -> Flask:
    """As ``waiting``, where threads are greenlets: it sleeps in a native thread, as fdatasync is called in one."""
    from gevent.monkey import get_original

    sleep = get_original("time", "sleep")
    return _standing_in_line(lambda: call_blocking(lambda: sleep(DISK_S)))


def without_disk() -> Flask:
    """The office with its journal, where a sleep as long as in ``waiting`` takes the place of the fdatasync."""
    vars(ledger)["call_blocking"] = lambda _sync: time.sleep(DISK_S)
    return create_app(from_environment(os.environ))


def _application(buy: Callable[..., Done]) -> Flask:
    BoxOffice.buy = buy  # type: ignore[method-assign]
    return create_app(from_environment(os.environ))


def _standing_in_line(wait: Callable[[], object]) -> Flask:
    settings = from_environment(os.environ)
    lines: defaultdict[str, Line] = defaultdict(lambda: Line(settings.batch or 1))

    def lead(take: Take) -> Purchases:
        take.keep_the_line = True
        commands = take()
        wait()
        transaction: Purchases = object.__new__(Transaction)
        transaction.outcomes = [_DONE.record] * len(commands)
        return transaction

    def buy(
        _office: BoxOffice, event: str, *, key: str, request: str, quantity: int, buyer: str | None, wish: Wish
    ) -> Done:
        deadline = time.monotonic() + settings.lock_timeout_s
        lines[event].run(Sell(key, request, "o", quantity, buyer, wish=wish), deadline, deadline, lead)
        return _DONE

    return _application(buy)
