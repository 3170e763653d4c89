"""Settings of the service, read once from ``LASTSEAT_*``, checked, frozen.

A value that cannot be meant is refused here with the name of the variable, the value and what would be accepted;
what depends on the surroundings (how many processes, which server) is refused in ``surroundings``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.catalogue import SCHEMES, STORES
from service.errors import RefusedToStart

EVENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
BLOT = "***"
_USER = re.compile(r"(?<=://).*@")
_PASSWORD_ASIDE = re.compile(r"(?<=[?&])password=[^&]*&?")
# In an address up to the last @, for whoever forgot to write %40; and wherever a name says so.
_IN_ADDRESS = re.compile(r"(?<=://)([^\s/:]*):.*(?=@)")
_BY_NAME = re.compile(
    r"""(?ix) (\w*(?:password|passwd|secret)\w*  (?: \s*=\s* | ["']\s*:\s* ))
        (?: '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^\s&]+ )"""
)
_HOST = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ADDRESS, _NUMBER, _URL = r"[0-9a-fA-F]*[.:][0-9a-fA-F.:]+", r"\d+", r"(tcp|udp|sctp)://[][0-9a-fA-F.:]+:\d+"
_OF_A_SERVICE = [
    (re.compile(rf"LASTSEAT(_[A-Z0-9_]+)?_{name}"), re.compile(value))
    for name, value in {
        r"SERVICE_HOST": _ADDRESS,
        r"SERVICE_PORT(_[A-Z0-9_]+)?": _NUMBER,
        r"PORT(_\d+_(TCP|UDP|SCTP))?": _URL,
        r"PORT_\d+_(TCP|UDP|SCTP)_PROTO": "tcp|udp|sctp",
        r"PORT_\d+_(TCP|UDP|SCTP)_PORT": _NUMBER,
        r"PORT_\d+_(TCP|UDP|SCTP)_ADDR": _ADDRESS,
    }.items()
]
"""What Kubernetes writes into a pod about a Service that is called ``lastseat`` or ``lastseat-…``: name and value."""
MAX_CAPACITY = 10_000_000
MAX_THINK_MS = 60_000.0

log = logging.getLogger("lastseat")


@dataclass(frozen=True, slots=True)
class Think:
    """The delay put between reading and writing: between ``low_ms`` and ``high_ms``, sleeping or computing."""

    low_ms: float = 0.0
    high_ms: float = 0.0
    compute: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path = Path("data")
    store: str = "json"
    store_url: str = field(default="", repr=False)
    """Where the engine of a store is, that has one. May hold a password: never shown."""
    guard: str = ""
    """Empty: ``on``, or what the engine says where it has a say."""
    pool: int = 8
    """Most connections of a process to the store's engine."""
    batch: int | None = None
    """Most purchases of one process decided together; None leaves it to the store."""
    lock_timeout_s: float = 5.0
    lease_ms: int = 2_000
    """How long a lease lasts that nobody gives back; for the guards ``lease`` and ``fenced``."""
    think: Think = Think()
    request_scope: bool = False
    """Hold the guard around the whole request, as one should not."""
    first_event: tuple[str, int] | None = ("show", 100)
    admin_token: str | None = None
    allow_unsafe: bool = False
    leak: float = 0.0
    """How often guard ``leaky`` lets somebody in; a probability."""
    gates: str = ""
    """The socket of a scheduler that decides who passes which gate; empty outside of experiments."""
    gates_patience_s: float = 30.0
    inside: int | None = None
    """Most purchases inside one process at once; 0 is no bound, None leaves it to the worker model."""
    queue: int | None = None
    """Most purchases that wait for a place inside; None leaves it to the worker model."""
    rate: tuple[float, float] | None = None
    """Mutations a second that one client may ask of a process, and how many at once; None: no limit."""
    proxies: int = 0
    """How many proxies in front are trusted to say who the client is."""

    hosts: tuple[str, ...] = ()
    """Names that it answers to besides localhost, addresses of numbers and what the server listens on."""
    log: str = ""
    """``json``: a line for every request."""
    results: Path = Path("results")
    """Where the lab leaves its verdicts, for the page."""
    worker_model: str = ""
    """Read by ``workers.gunicorn_conf``; here only to say where it was not."""
    locks_as_asked: bool = False
    """Lock the events of a lab's cart in the order in which the buyer names them: two carts may deadlock."""

    @property
    def store_identity(self) -> str:
        """What the data directory belongs to: the store, and where its engine is, whoever asks it."""
        return _USER.sub("", without_passwords(_PASSWORD_ASIDE.sub("", self.store_url))) or self.store


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that the environment asks for; raises ``RefusedToStart`` at the first that makes no sense."""
    known = {
        "DATA", "STORE", "GUARD", "BATCH", "LOCK_TIMEOUT_S", "THINK_MS", "THINK", "GUARD_SCOPE",
        "LEAK", "LEASE_MS", "GATES", "POOL", "GATES_PATIENCE_S", "WORKER_MODEL", "EVENT", "ADMIN_TOKEN", "ALLOW_UNSAFE",
        "INSIDE", "QUEUE", "RATE", "PROXIES", "HOSTS", "LOG", "RESULTS", "LOCK_ORDER",
    }  # fmt: skip
    for name in environ:
        if name.startswith("LASTSEAT_") and name.removeprefix("LASTSEAT_") not in known:
            if _tells_of_a_service(name, environ[name]):
                log.debug("%s is no setting: Kubernetes tells by it where a Service is; it is passed over", name)
                continue
            names = ", ".join(sorted(f"LASTSEAT_{each}" for each in known))
            raise RefusedToStart(f"{name} is not a setting. The settings are: {names}.")
    store, store_url = _store(environ.get("LASTSEAT_STORE") or "json")
    return Settings(
        data=Path(environ.get("LASTSEAT_DATA") or "data"),
        store=store,
        store_url=store_url,
        guard=environ.get("LASTSEAT_GUARD") or "",
        pool=_count("LASTSEAT_POOL", environ, 1, 1_000) or 8,
        batch=_count("LASTSEAT_BATCH", environ, 1, 10_000),
        lock_timeout_s=_number("LASTSEAT_LOCK_TIMEOUT_S", environ.get("LASTSEAT_LOCK_TIMEOUT_S") or "5", 0.01, 3600),
        lease_ms=int(
            _number("LASTSEAT_LEASE_MS", environ.get("LASTSEAT_LEASE_MS") or "2000", 1, 3_600_000, whole=True)
        ),
        think=_think(environ.get("LASTSEAT_THINK_MS") or "0", environ.get("LASTSEAT_THINK") or "io"),
        request_scope=_choice("LASTSEAT_GUARD_SCOPE", environ, ("decision", "request")) == "request",
        first_event=_event(environ.get("LASTSEAT_EVENT", "show:100")),
        admin_token=_token(environ.get("LASTSEAT_ADMIN_TOKEN") or None),
        leak=_number("LASTSEAT_LEAK", environ.get("LASTSEAT_LEAK") or "0", 0, 1),
        gates=environ.get("LASTSEAT_GATES", ""),
        gates_patience_s=_number(
            "LASTSEAT_GATES_PATIENCE_S", environ.get("LASTSEAT_GATES_PATIENCE_S") or "30", 0.01, 86_400
        ),
        inside=_count("LASTSEAT_INSIDE", environ, 0, 100_000),
        queue=_count("LASTSEAT_QUEUE", environ, 0, 1_000_000),
        rate=_rate(environ.get("LASTSEAT_RATE") or ""),
        proxies=_count("LASTSEAT_PROXIES", environ, 0, 10) or 0,
        hosts=_hosts(environ.get("LASTSEAT_HOSTS", "")),
        log=_choice("LASTSEAT_LOG", environ, ("", "json")),
        results=Path(environ.get("LASTSEAT_RESULTS") or "results"),
        worker_model=environ.get("LASTSEAT_WORKER_MODEL") or "",
        locks_as_asked=_choice("LASTSEAT_LOCK_ORDER", environ, ("sorted", "as-asked")) == "as-asked",
        allow_unsafe=_choice("LASTSEAT_ALLOW_UNSAFE", environ, ("0", "1")) == "1",
    )


def _tells_of_a_service(name: str, value: str) -> bool:
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _OF_A_SERVICE)


def without_passwords(text: str) -> str:
    """``postgresql://user:secret@host`` as ``postgresql://user:***@host``, ``password=secret`` as ``password=***``; for
    messages and logs. Rather too much is blotted out than too little."""
    return _BY_NAME.sub(rf"\1{BLOT}", _IN_ADDRESS.sub(rf"\1:{BLOT}", text))


def _refuse(name: str, value: str, wanted: str) -> RefusedToStart:
    return RefusedToStart(f"{name}={without_passwords(value)!r} cannot be used: {wanted}.")


def _number(name: str, value: str, low: float, high: float, *, whole: bool = False) -> float:
    wanted = f"it must be a {'whole ' if whole else ''}number from {low:g} to {high:g}"
    try:
        number = float(int(value)) if whole else float(value)
    except ValueError:
        raise _refuse(name, value, wanted) from None
    if not low <= number <= high:
        raise _refuse(name, value, wanted)
    return number


def _count(name: str, environ: Mapping[str, str], low: int, high: int) -> int | None:
    value = environ.get(name, "")
    return int(_number(name, value, low, high, whole=True)) if value else None


def _rate(value: str) -> tuple[float, float] | None:
    if not value:
        return None
    rate, colon, burst = value.partition(":")
    per_s = _number("LASTSEAT_RATE", rate, 0.001, 1e6)
    return per_s, _number("LASTSEAT_RATE", burst, 1, 1e6) if colon else max(1.0, per_s)


def _choice(name: str, environ: Mapping[str, str], choices: tuple[str, ...]) -> str:
    value = environ.get(name) or choices[0]
    if value not in choices:
        raise _refuse(name, value, f"it must be one of {', '.join(choices)}")
    return value


def _store(value: str) -> tuple[str, str]:
    """A store's name, and its address where that is what was given. A password in it is not repeated."""
    scheme, separator, _ = value.partition("://")
    if not separator:
        if value in SCHEMES.values():
            raise RefusedToStart(f"LASTSEAT_STORE={value} needs an address: {STORES[value].example}.")
        return value, ""
    if scheme not in SCHEMES:
        begins = ", ".join(f"{known}://" for known in SCHEMES)
        said = without_passwords(scheme)
        raise RefusedToStart(f"LASTSEAT_STORE: {said!r} is no scheme of a store. An address begins with {begins}.")
    _refuse_misread(SCHEMES[scheme], value)
    return SCHEMES[scheme], value


def _refuse_misread(store: str, address: str) -> None:
    """A plain @ or / in a password lets what follows pass for a host or a database, and these are shown."""
    place = address.partition("://")[2].partition("?")[0]
    authority, _, path = place.partition("/")
    if authority and ("@" in path or (store == "postgres" and place.count("@") > 1)):
        raise RefusedToStart(
            "LASTSEAT_STORE: the address cannot be read for sure. In a user's name and in a password @ : / ? # % are "
            "written as %40 %3A %2F %3F %23 %25."
        )


def _think(delay: str, how: str) -> Think:
    how = _choice("LASTSEAT_THINK", {"LASTSEAT_THINK": how}, ("io", "cpu"))
    low, dash, high = delay.partition("-")
    try:
        low_ms = float(low)
        high_ms = float(high) if dash else low_ms
    except ValueError:
        low_ms = high_ms = -1.0
    if not 0 <= low_ms <= high_ms <= MAX_THINK_MS:
        raise _refuse("LASTSEAT_THINK_MS", delay, f"it must be like 20 or 10-50, from 0 to {MAX_THINK_MS:g}")
    return Think(low_ms, high_ms, compute=how == "cpu")


def _hosts(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    for name in names:
        if not _HOST.fullmatch(name):
            raise _refuse(
                "LASTSEAT_HOSTS", value, "it must be like tickets.example.org,.example.com without ports, or *"
            )
    return names


def _token(value: str | None) -> str | None:
    # Not shown: it is a secret.
    if value is not None and not is_token(value):
        raise RefusedToStart("LASTSEAT_ADMIN_TOKEN cannot be used: it must be printable ASCII characters, no blanks.")
    return value


def is_token(value: str) -> bool:
    """Whether it can come back in an ``Authorization`` header as it is."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _event(value: str) -> tuple[str, int] | None:
    if not value:
        return None
    name, colon, capacity = value.partition(":")
    if not colon or not EVENT_ID.fullmatch(name):
        raise _refuse("LASTSEAT_EVENT", value, "it must be like show:100, the id of lower-case letters and digits")
    return name, int(_number("LASTSEAT_EVENT", capacity, 1, MAX_CAPACITY, whole=True))
