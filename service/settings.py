"""Settings of the service, read once from ``LASTSEAT_*``, checked, frozen.

A value that cannot be used is refused here with the name of the variable, the value and what would be accepted;
``runtime.gunicorn`` refuses what depends on the server and the number of processes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from service.catalogue import DEFAULT_STORE, SCHEMES, STORES
from service.errors import RefusedToStart

EVENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
BLOT = "***"
_USER = re.compile(r"(?<=://).*@")
_PASSWORD_ASIDE = re.compile(r"(?<=[?&])password=[^&]*&?")
# In an address up to the last @, as a password may have one that should be %40; and after a name that says so.
_IN_ADDRESS = re.compile(r"(?<=://)([^\s/:]*):.*(?=@)")
_BY_NAME = re.compile(
    r"""(?ix) (\w*(?:password|passwd|secret)\w*  (?: \s*=\s* | ["']\s*:\s* ))
        (?: '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^\s&]+ )"""
)
_PAGE = re.compile(r"https?://[^\s?#\"'<>]+")
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
"""The variables that Kubernetes sets in a pod for a Service called ``lastseat`` or ``lastseat-…``: name and value."""
SHORTEST_SECRET = 32
MAX_CAPACITY = 10_000_000
MAX_THINK_MS = 60_000.0

_Reader = Callable[[str, str], Any]
"""Makes a value of a variable's name and its text; raises ``RefusedToStart``."""

log = logging.getLogger("lastseat")


@dataclass(frozen=True, slots=True)
class Think:
    """The delay put between reading and writing: between ``low_ms`` and ``high_ms``, sleeping or computing."""

    low_ms: float = 0.0
    high_ms: float = 0.0
    compute: bool = False


def _tells_of_a_service(name: str, value: str) -> bool:
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _OF_A_SERVICE)


def without_passwords(text: str) -> str:
    """``postgresql://user:secret@host`` as ``postgresql://user:***@host``, ``password=secret`` as ``password=***``; for
    messages and logs. In doubt more is removed than needed."""
    return _BY_NAME.sub(rf"\1{BLOT}", _IN_ADDRESS.sub(rf"\1:{BLOT}", text))


def _refuse(name: str, value: str, wanted: str) -> RefusedToStart:
    return RefusedToStart(f"{name}={without_passwords(value)!r} cannot be used: {wanted}.")


def _number(name: str, value: str, low: float, high: float, kind: type[float] = float) -> float:
    wanted = f"it must be a {'whole ' if kind is int else ''}number from {low:g} to {high:g}"
    try:
        number = kind(value)
    except ValueError:
        raise _refuse(name, value, wanted) from None
    if not low <= number <= high:
        raise _refuse(name, value, wanted)
    return number


def _between(low: float, high: float, kind: type[float] = float) -> _Reader:
    return lambda name, value: _number(name, value, low, high, kind)


def _rate(name: str, value: str) -> tuple[float, float]:
    rate, colon, burst = value.partition(":")
    per_s = _number(name, rate, 0.001, 1e6)
    return per_s, _number(name, burst, 1, 1e6) if colon else max(1.0, per_s)


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise _refuse(name, value, f"it must be one of {', '.join(choices)}")
    return value


def _one_of(*choices: str) -> _Reader:
    return lambda name, value: _choice(name, value, choices)


def _second_of(*choices: str) -> _Reader:
    """Whether the second of two choices is made."""
    return lambda name, value: _choice(name, value, choices) == choices[1]


def _store(value: str) -> tuple[str, str]:
    """A store's name and, if an address was given, the address. No message repeats a password in it."""
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
    """Refuse a plain @ or / in a password: the rest of it would be taken for a host or a database, which are shown."""
    place = address.partition("://")[2].partition("?")[0]
    authority, _, path = place.partition("/")
    if authority and ("@" in path or (store == "postgres" and place.count("@") > 1)):
        raise RefusedToStart(
            "LASTSEAT_STORE: the address cannot be read for sure. In a user's name and in a password @ : / ? # % are "
            "written as %40 %3A %2F %3F %23 %25."
        )


def _think(delay: str, how: str) -> Think:
    _choice("LASTSEAT_THINK", how, ("io", "cpu"))
    low, dash, high = delay.partition("-")
    try:
        low_ms = float(low)
        high_ms = float(high) if dash else low_ms
    except ValueError:
        low_ms = high_ms = -1.0
    if not 0 <= low_ms <= high_ms <= MAX_THINK_MS:
        raise _refuse("LASTSEAT_THINK_MS", delay, f"it must be like 20 or 10-50, from 0 to {MAX_THINK_MS:g}")
    return Think(low_ms, high_ms, compute=how == "cpu")


def _hosts(setting: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    if not all(_HOST.fullmatch(name) for name in names):
        raise _refuse(setting, value, "it must be like tickets.example.org,.example.com without ports, or *")
    return names


def _hidden(fits: Callable[[str], bool], least: str = "") -> _Reader:
    """Reads a secret, which no message shows."""

    def read(name: str, value: str) -> str:
        if not fits(value):
            raise RefusedToStart(f"{name} cannot be used: it must be {least}printable ASCII characters, no blanks.")
        return value

    return read


def is_secret(value: str) -> bool:
    """Whether it is a token, and so long that nobody can guess it from a message that was signed with it."""
    return is_token(value) and len(value) >= SHORTEST_SECRET


def _page_address(name: str, value: str) -> str:
    if not _PAGE.fullmatch(value):
        raise _refuse(name, value, "it must be like https://pay.example.org/tickets, without ? and #")
    return value


def is_token(value: str) -> bool:
    """Whether a client can send it in an ``Authorization`` header unchanged."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _event(value: str) -> tuple[str, int] | None:
    if not value:
        return None
    name, colon, capacity = value.partition(":")
    if not colon or not EVENT_ID.fullmatch(name):
        raise _refuse("LASTSEAT_EVENT", value, "it must be like show:100, the id of lower-case letters and digits")
    return name, int(_number("LASTSEAT_EVENT", capacity, 1, MAX_CAPACITY, int))


def _text(_name: str, value: str) -> str:
    return value


def _path(_name: str, value: str) -> Path:
    return Path(value)


def _setting(default: Any, read: _Reader, name: str = "", *, shown: bool = True) -> Any:
    """A field that one variable sets: ``LASTSEAT_`` and ``name``, or the field's own name in capitals."""
    return field(default=default, repr=shown, metadata={"read": read, "name": name})


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path = _setting(Path("data"), _path)  # noqa: RUF009
    store: str = DEFAULT_STORE
    store_url: str = field(default="", repr=False)
    """The address of the store's engine, if it has one. It may hold a password and is never shown."""
    guard: str = _setting("", _text)
    """Empty: ``on``, or the guard that the store's engine has switched to."""
    pool: int = _setting(8, _between(1, 1_000, int))
    """Most connections of a process to the store's engine."""
    batch: int | None = _setting(None, _between(1, 10_000, int))
    """Most purchases of one process decided together; None leaves it to the store."""
    line: str = _setting("", _one_of("", "process", "host"))
    """Whether the purchases of one process are decided together, or those of all processes of the host; empty leaves it
    to the worker class and the store."""
    lock_timeout_s: float = _setting(5.0, _between(0.01, 3600))
    lease_ms: int = _setting(2_000, _between(1, 3_600_000, int))
    """How long a lease lasts if nobody gives it back; for the guards ``lease`` and ``fenced``."""
    think: Think = Think()
    request_scope: bool = _setting(False, _second_of("decision", "request"), "GUARD_SCOPE")
    """Hold the guard around the whole request, which is wrong in production."""
    first_event: tuple[str, int] | None = ("show", 100)
    admin_token: str | None = _setting(None, _hidden(is_token), shown=False)
    pay_url: str = _setting("", _page_address)
    """The payment provider's page; with it, events that are not the lab's are sold by payment alone."""
    pay_secret: str | None = _setting(None, _hidden(is_secret, f"at least {SHORTEST_SECRET} "), shown=False)
    """What the provider and this office sign with; None: the one in the data directory."""
    allow_unsafe: bool = _setting(False, _second_of("0", "1"))
    leak: float = _setting(0.0, _between(0, 1))
    """The probability with which guard ``leaky`` lets somebody in."""
    gates: str = _setting("", _text)
    """The socket of the scheduler that opens the gates; empty outside of experiments."""
    gates_patience_s: float = _setting(30.0, _between(0.01, 86_400))
    inside: int | None = _setting(None, _between(0, 100_000, int))
    """Most purchases inside one process at once; 0 means no bound, None leaves it to the worker model."""
    queue: int | None = _setting(None, _between(0, 1_000_000, int))
    """Most purchases that wait for a place inside; None leaves it to the worker model."""
    rate: tuple[float, float] | None = _setting(None, _rate)
    """How many mutations a second one client may request of a process, and how many at once; None: no limit."""
    proxies: int = _setting(0, _between(0, 10, int))
    """How many proxies in front are trusted to name the client."""
    hosts: tuple[str, ...] = _setting((), _hosts)
    """The host names that it answers to, besides localhost, numeric addresses and those that the server listens on."""
    log: str = _setting("", _one_of("", "json"))
    """``json``: a line for every request."""
    results: Path = _setting(Path("results"), _path)  # noqa: RUF009
    """The directory in which the lab leaves its verdicts, for the page."""
    page: str = _setting("", _one_of("shop", "lab"))
    """For whom the page at ``/`` is: ``shop`` shows buyers nothing of the machinery; empty: see ``is_shop``."""
    worker_model: str = _setting("", _text)
    """``workers.gunicorn_conf`` reads it; it is here only for a warning where it was not read."""
    locks_as_asked: bool = _setting(False, _second_of("sorted", "as-asked"), "LOCK_ORDER")
    """Lock the events of a lab's cart in the buyer's order and not by id: two carts may deadlock."""

    @property
    def is_shop(self) -> bool:
        """Whether the page is for buyers alone. Unless it is said, an office that makes no lab event is a shop."""
        return self.page == "shop" or (self.page == "" and self.first_event is None)

    @property
    def store_identity(self) -> str:
        """What the data directory belongs to: the store, or the address of its engine without user and password."""
        return _USER.sub("", without_passwords(_PASSWORD_ASIDE.sub("", self.store_url))) or self.store


_SINGLE = [each for each in fields(Settings) if each.metadata]
_READ_APART = ("STORE", "EVENT", "THINK_MS", "THINK")


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that the environment asks for; an empty one counts as not given. Raises ``RefusedToStart`` at the
    first that cannot be used."""
    readers = {each.metadata["name"] or each.name.upper(): (each.name, each.metadata["read"]) for each in _SINGLE}
    names = {f"LASTSEAT_{name}" for name in (*readers, *_READ_APART)}
    for name in environ:
        if name.startswith("LASTSEAT_") and name not in names:
            if _tells_of_a_service(name, environ[name]):
                log.debug("%s is no setting: Kubernetes tells by it where a Service is; it is ignored", name)
                continue
            raise RefusedToStart(f"{name} is not a setting. The settings are: {', '.join(sorted(names))}.")
    given: dict[str, Any] = {
        field: read(f"LASTSEAT_{name}", value)
        for name, (field, read) in readers.items()
        if (value := environ.get(f"LASTSEAT_{name}"))
    }
    if address := environ.get("LASTSEAT_STORE"):
        given["store"], given["store_url"] = _store(address)
    if "pay_secret" in given and "pay_url" not in given:
        raise RefusedToStart("LASTSEAT_PAY_SECRET needs LASTSEAT_PAY_URL, the address of the payment provider's page.")
    if "LASTSEAT_EVENT" in environ:  # empty: no event is made
        given["first_event"] = _event(environ["LASTSEAT_EVENT"])
    think = _think(environ.get("LASTSEAT_THINK_MS") or "0", environ.get("LASTSEAT_THINK") or "io")
    return Settings(**given, think=think)
