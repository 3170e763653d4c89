"""The set-up of an engine, and the checks before an office sells from it: its format, and what a crash of it loses."""

from __future__ import annotations

import secrets

from redis.exceptions import ResponseError

from service.errors import Problem, RefusedToStart
from service.stores.redis.engine import Engine
from service.stores.redis.scripts import SET_UP

FORMAT = 3
"""3 has halls. Older ones are upgraded by ``set_up``; any other is left alone."""
_OLDER = {b"1": "holds", b"2": "halls"}
"""Before what each of them was."""
OLDEST_ENGINE = (7, 0)


def set_up(engine: Engine) -> str:
    """Let there be an office of this format in the engine; says what was done.

    One of an older format is upgraded in one step, all its sales kept; services of the older format that still run are
    refused from then on. Errors: ``RefusedToStart`` where it is of another format, or the engine cannot be used.
    """
    _look_at(engine)
    office = f"{engine.tag}:office"
    try:
        did = engine.run(SET_UP, [office], secrets.token_hex(8), str(FORMAT))
    except Problem as problem:
        raise RefusedToStart(f"the office could not be set up. {problem.kind.title}. {problem.detail}") from None
    if did == b"made":
        return f"{engine.where}: made the office {engine.tag}, format {FORMAT}"
    if did == b"upgraded":
        return f"{engine.where}: the office {engine.tag} was brought to format {FORMAT}; all its sales were kept"
    _check_format(engine)
    return f"{engine.where}: the office {engine.tag} is there already, format {FORMAT}; nothing was changed"


def check(engine: Engine) -> list[str]:
    """Raise ``RefusedToStart`` where nothing could be sold; warnings of settings that lose what was acknowledged."""
    _look_at(engine)
    _check_format(engine)
    return [f"{engine.where}: {warning}" for warning in lossy_settings(engine)]


def lossy_settings(engine: Engine) -> list[str]:
    """What the engine's settings can lose, a sentence each; empty where they lose nothing."""
    settings = _settings(engine)
    if settings is None:
        return ["its settings cannot be read here (CONFIG), so nobody knows what a crash of it loses"]
    found = []
    if settings.get("appendonly") != "yes":
        found.append(
            "appendonly is not yes: a crash loses all sales since its last snapshot. CONFIG SET appendonly yes"
        )
    elif settings.get("appendfsync") != "always":
        lost = "the last second of sales" if settings.get("appendfsync") == "everysec" else "some seconds of sales"
        found.append(f"appendfsync is not always: a power cut loses {lost}. CONFIG SET appendfsync always")
    elif settings.get("no-appendfsync-on-rewrite") != "no":
        found.append("no-appendfsync-on-rewrite is not no: a power cut while it rewrites its file loses sales")
    if settings.get("maxmemory-policy", "").startswith("volatile"):
        found.append("maxmemory-policy may take leases away early; under guard lease that oversells")
    return found


def _look_at(engine: Engine) -> None:
    try:
        said = engine.ask("INFO").decode(errors="replace")
        settings = _settings(engine) or {}
    except Problem as problem:
        remedy = " Let LASTSEAT_STORE name an engine that runs." if problem.code == "engine_unreachable" else ""
        raise RefusedToStart(f"LASTSEAT_STORE: {problem.kind.title}. {problem.detail}{remedy}") from None
    info = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    version = info.get("redis_version", "0").split(".")
    if tuple(int(part) for part in version[:2]) < OLDEST_ENGINE:
        raise RefusedToStart(
            f"LASTSEAT_STORE: {engine.where} is version {info.get('redis_version')}. "
            "Take a Valkey, or a Redis from version 7 on."
        )
    if info.get("role") != "master":
        raise RefusedToStart(f"LASTSEAT_STORE: {engine.where} is a replica and takes no sales. Name the primary.")
    if settings.get("maxmemory-policy", "").startswith("allkeys") and settings.get("maxmemory") != "0":
        raise RefusedToStart(
            f"LASTSEAT_STORE: {engine.where} throws keys away when its memory is full (maxmemory-policy "
            f"{settings['maxmemory-policy']}): sold seats would be sold again. CONFIG SET maxmemory-policy noeviction"
        )


def _check_format(engine: Engine) -> None:
    try:
        form = engine.ask("HGET", f"{engine.tag}:office", "format")
    except Problem as problem:
        raise RefusedToStart(f"LASTSEAT_STORE: {problem.kind.title}. {problem.detail}") from None
    if form is None:
        raise RefusedToStart(
            f"LASTSEAT_STORE: {engine.where} has no office {engine.tag}. Make it once, with the same LASTSEAT_STORE: "
            "lastseat store init"
        )
    if form in _OLDER:
        raise RefusedToStart(
            f"LASTSEAT_STORE: the office {engine.tag} in {engine.where} has format {form.decode()}, from before "
            f"{_OLDER[form]}, and this service reads {FORMAT}. Nothing was written to it. Stop the older services, and "
            "bring the office to this format, with the same LASTSEAT_STORE: lastseat store init"
        )
    if form != b"%d" % FORMAT:
        raise RefusedToStart(
            f"LASTSEAT_STORE: the office {engine.tag} in {engine.where} has format "
            f"{form.decode(errors='replace')}, and this service reads {FORMAT}. Nothing was written to it."
        )


def _settings(engine: Engine) -> dict[str, str] | None:
    """The engine's settings that matter here; None where it does not tell them (a managed one may not)."""
    wanted = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy")
    found: dict[str, str] = {}
    for name in wanted:
        try:
            found |= dict(zip(*[iter(part.decode() for part in engine.ask("CONFIG", "GET", name))] * 2, strict=True))
        except Problem as problem:
            if problem.code == "engine_refused":
                return None
            raise
        except ResponseError:
            return None
    return found
