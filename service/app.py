"""The only place that wires: settings → store, guards, control, box office, routes."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from flask import Flask

from service import surroundings
from service.box_office import BoxOffice
from service.control import Control
from service.errors import Problem, RefusedToStart
from service.files import check_locks_exclude
from service.inventory import Event
from service.routes import register
from service.settings import Settings
from service.stores import open_store

MAX_BODY_BYTES = 64 * 1024
START_PATIENCE_S = 30.0

log = logging.getLogger("lastseat")


def create_app(settings: Settings) -> Flask:
    """The office as a WSGI application. Raises ``RefusedToStart`` where it could not be right."""
    around = surroundings.look_around()
    _prepare(settings.data)
    check_locks_exclude(settings.data)
    try:
        store = open_store(settings)
    except OSError as error:
        raise _unusable(settings.data, error) from None
    control = Control(settings.data)
    guard = _guard_at_start(settings, store.name, store.safe_guard)
    surroundings.refuse_unsafe(settings, guard, store.scope, around)
    office = BoxOffice(settings, store, control, around.processes)
    try:
        name = office.resolve(guard)
    except Problem as problem:
        raise RefusedToStart(f"LASTSEAT_GUARD={settings.guard!r}: {problem.kind.title}. {problem.detail}") from None
    if control.start(name, around.master, START_PATIENCE_S):
        store.tidy()
        if name != store.safe_guard:
            log.warning("guard %r acts on lab events; all others are sold under %r", name, store.safe_guard)
    if settings.first_event is not None:
        _make_first_event(office, *settings.first_event)

    app = Flask("service")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    register(app, office, _admin_token(settings))
    return app


def _guard_at_start(settings: Settings, store: str, safe_guard: str) -> str:
    return {"on": safe_guard, "off": "none"}.get(settings.guard, settings.guard)


def _prepare(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe = data / f"write-check.{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise _unusable(data, error) from None


def _unusable(data: Path, error: OSError) -> RefusedToStart:
    return RefusedToStart(
        f"the data directory {data} cannot be written ({error.strerror}). Make it writable for this user, make room on "
        "its file system, or let LASTSEAT_DATA name another. Nothing was changed."
    )


def _make_first_event(office: BoxOffice, name: str, capacity: int) -> None:
    try:
        if name not in office.store.names():
            office.create(Event(name, name.replace("-", " ").replace("_", " ").title(), capacity, lab=True))
    except Problem as problem:
        if problem.code != "event_exists":  # another worker was faster
            raise RefusedToStart(f"the first event could not be made: {problem}") from None


def _admin_token(settings: Settings) -> str:
    """The token of the settings, or the one that was made once for this data directory."""
    if settings.admin_token:
        return settings.admin_token
    path = settings.data / "admin-token"
    mine = path.with_name(f"admin-token.{os.getpid()}")
    fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_urlsafe(24) + "\n")
    try:
        # A link fails where another worker was faster; then its token is the one.
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text().strip()
