"""The office, put together: settings → store, guards, control, box office, routes. This is the only place for it."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from service.catalogue import OFF
from service.errors import Problem, RefusedToStart
from service.http import OfficeApp, experiments, register
from service.http.middleware.early_refusal import RefuseEarly
from service.http.middleware.rate_limit import RateLimit, limit_rate
from service.http.middleware.request_checks import Hosts
from service.http.payments import Provider
from service.rules.inventory import Event
from service.runtime import gunicorn, logs
from service.runtime.files import (
    check_locks_exclude,
    how_to_close,
    keep_to_ourselves,
    make_directory,
    sync_names,
    temporary_beside,
    unique,
    write_durably,
)
from service.runtime.gevent import call_blocking
from service.runtime.metrics import Unmeasured, open_metrics, remove_what_is_left
from service.sales.admission import Admission, bounds
from service.sales.box_office import BoxOffice
from service.sales.carts import Carts
from service.sales.host_line import place
from service.sales.host_line.client import HostLine
from service.sales.host_line.launching import launch
from service.sales.opening import open_store_and_control
from service.sales.readiness import Readiness
from service.settings import Settings, is_secret, is_token
from service.switch.shared_memory import OTHERS_PATIENCE_S

SWITCH_INTERVAL_S = 0.0005
START_PATIENCE_S = 30.0

log = logging.getLogger("lastseat")


def create_app(settings: Settings) -> Flask:
    """The office as a WSGI application. Raises ``RefusedToStart`` where it would not be right."""
    server = gunicorn.current_server()
    gunicorn.trust_no_header()
    gunicorn.raise_descriptor_limit()
    if server.threads > 1:
        # A thread that returns from a system call waits up to this long for the GIL while another one computes. A
        # purchase makes several such calls; with Python's 5 ms these waits, and not the disk, would limit the speed.
        sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        office, first = _open_office(settings, server)
        admin_token = settings.admin_token or _kept_secret(settings.data / "admin-token", is_token, office, first)
        payments = None
        if settings.pay_url:
            pay_secret = settings.pay_secret or _kept_secret(settings.data / "pay-secret", is_secret, office, first)
            payments = Provider(settings.pay_url, pay_secret)
    except OSError as error:
        raise _unusable(settings.data, error) from None
    app = OfficeApp()
    logs.set_up(app, settings.log)
    app.extensions["results"] = settings.results
    app.extensions["shop"] = settings.is_shop
    app.extensions["payments"] = payments
    app.extensions["carts"] = Carts(settings, office)
    app.extensions["readiness"] = Readiness(settings.data, office, server.stopping)
    register(app, office, admin_token, Hosts((*settings.hosts, *server.hosts)), office.metrics)
    if settings.rate is not None:
        limit_rate(app, RateLimit(*settings.rate), settings.proxies)
    if settings.gates:
        app.register_blueprint(experiments.blueprint)
    if office.admission is not None:
        app.wsgi_app = RefuseEarly(app, office, office.admission, office.metrics)  # type: ignore[method-assign]
    # The pool that waits for the disk under gevent is opened now: at the first purchase no descriptor may be free.
    call_blocking(lambda: None)
    gunicorn.limit_connections()
    gunicorn.survive_failed_accepts()
    return app


def _open_office(settings: Settings, server: gunicorn.Server) -> tuple[BoxOffice, bool]:
    """The office, and whether this process is the first of its master."""
    _prepare(settings.data)
    check_locks_exclude(settings.data)
    store, control = open_store_and_control(settings)
    guard = {"": store.safe_guard, "on": store.safe_guard, "off": OFF}.get(settings.guard, settings.guard)
    gunicorn.refuse_unsafe(settings, guard, store.scope, store.safe_guard, server)
    admitted = bounds(settings.inside, settings.queue, threads=server.threads, sync=server.sync)
    admission = Admission(*admitted) if admitted else None
    office = BoxOffice(settings, store, control, server.processes, admission)
    try:
        name = office.resolve(guard)
    except Problem as problem:
        raise RefusedToStart(f"LASTSEAT_GUARD={settings.guard!r}: {problem.sentences}") from None

    def tidy() -> None:
        store.tidy()
        remove_what_is_left(settings.data, server.master)
        place.remove_what_is_left(settings.data)
        office.transactions.guard(store.safe_guard).open_with(control.lock_series)

    try:
        first = control.start(
            name, server.master, START_PATIENCE_S, tidy, given=bool(settings.guard), respawned=server.respawned
        )
    except Problem as problem:
        if problem.code != "switch_timeout":
            raise RefusedToStart(problem.sentences) from None
        raise RefusedToStart(
            f"another server on {settings.data} did not finish its purchases ({problem}). Stop it, or let "
            "LASTSEAT_DATA name another directory."
        ) from None
    office.metrics = _open_metrics(settings.data, server.master)
    if gunicorn.acting_line(settings, server) == "host":
        office.host_line = _host_line(settings, server)
    if admission is not None:
        admission.queued = office.metrics.queued
    if first and name != store.safe_guard:
        log.warning("guard %r acts on lab events only; all others are sold under %r", name, store.safe_guard)
    if first and settings.worker_model and not server.configured:
        log.warning(
            "LASTSEAT_WORKER_MODEL=%s has no effect: gunicorn was started without the settings that read it. Start it "
            "with -c python:workers.gunicorn_conf, or name the worker class on the command line and unset this.",
            settings.worker_model,
        )
    if first and (command := how_to_close(settings.data)):
        log.warning(
            "other users of this machine can enter the data directory: they can read the orders in it, and stop all "
            "sales by locking a file. Close it, unless you opened it on purpose: %s",
            command,
        )
    if settings.first_event is not None:
        _make_first_event(office, *settings.first_event, patient=not first)
    return office, first


def _host_line(settings: Settings, server: gunicorn.Server) -> HostLine:
    fingerprint = place.fingerprint_of(settings, server.master, server.processes)
    return HostLine(
        place.Place(settings.data, fingerprint),
        lambda lock_fd: launch(lock_fd, fingerprint, server.master, server.processes),
    )


def _open_metrics(data: Path, master: str) -> Unmeasured:
    """Without room for metrics tickets are still sold: those of this process are then not counted."""
    try:
        return open_metrics(data, master)
    except OSError as error:
        log.warning("this process is not measured: no room for its metrics in %s (%s)", data, error.strerror)
        return Unmeasured()


def _prepare(data: Path) -> None:
    keep_to_ourselves()
    make_directory(data)
    probe = data / f"write-check.{unique()}"
    try:
        probe.write_bytes(b"x")
    finally:
        probe.unlink(missing_ok=True)


def _unusable(data: Path, error: OSError) -> RefusedToStart:
    return RefusedToStart(
        f"the data directory {data} cannot be written ({error.strerror or error}). Make it writable for this user, "
        "make room on its file system, or let LASTSEAT_DATA name another. No event was changed."
    )


def _make_first_event(office: BoxOffice, name: str, capacity: int, *, patient: bool) -> None:
    """Make the event if there is none. A worker that respawns while the engine is away is ``patient``: it answers 503
    until the engine is back, since a refusal would stop the whole master."""
    try:
        if name not in office.store.names():
            office.create(Event(name, name.replace("-", " ").replace("_", " ").title(), capacity, lab=True))
    except Problem as problem:
        another_was_faster = problem.code == "event_exists"
        if not another_was_faster and not (patient and problem.code in {"engine_unreachable", "pool_exhausted"}):
            raise RefusedToStart(f"the first event could not be made: {problem.sentences}") from None


def _kept_secret(path: Path, fits: Callable[[str], bool], office: BoxOffice, first: bool) -> str:
    """The secret that was made once for this data directory. The ``first`` process of a master makes it if there is
    none; the others wait for its file, which those that run make again where it was removed."""
    deadline = time.monotonic() + OTHERS_PATIENCE_S
    while not first and not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    mine = temporary_beside(path)
    # Durable before it has its name: a power cut could leave an empty file, which the next start would refuse.
    write_durably(mine, secrets.token_urlsafe(24).encode() + b"\n")
    try:
        # A link fails where another worker was faster; then the secret is that worker's.
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)
    finally:
        mine.unlink()
    sync_names(path.parent)
    secret = path.read_text(errors="replace").strip()
    if not fits(secret):
        raise RefusedToStart(
            f"{path} is empty or damaged, or too short. Remove it, and the next start makes a new one."
        )
    office.control.keep(path, secret.encode() + b"\n")
    return secret
