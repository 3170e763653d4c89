"""A running target: started if its file says how, set up before each round, asked for its audit at the end.

An address of another machine is refused, so that none is loaded by accident, unless the user says that they own it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path

from loadtests.lab.protocol.adapter import Request
from loadtests.lab.protocol.admin_api import MOST_AUDIT_BYTES, CallRefused, GuardState, OfficeError, Unreachable
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers import process
from loadtests.lab.servers.office import NotReady
from loadtests.lab.target.adapter import fill
from loadtests.lab.target.file import PLACEHOLDER, Ask, StartCommand, Target
from loadtests.lab.untrusted import printable

_TIMEOUT_S = 20.0
_SERVER_ERROR = 500
_SHOWN = 200


class NotThisMachine(OfficeError):
    """The address leads to another machine; nothing was sent there."""


def refuse_other_machines(url: str) -> None:
    """Raise ``NotThisMachine`` unless every address of the URL's host is a loopback address. Sends nothing to it."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise NotThisMachine(f"{host} has no address: {error}. Nothing was sent.") from None
    others = sorted(each for each in addresses if not ipaddress.ip_address(each.partition("%")[0]).is_loopback)
    if others:
        raise NotThisMachine(
            f"{url} is not on this machine ({host} is {', '.join(others)}). Nothing was sent: a load test of somebody "
            "else's machine is an attack. If it is yours, say so with --i-own-this-host."
        )


class TargetOffice:
    """The lab's own calls to a target; they are in no history. It has the interface of ``Office``."""

    def __init__(self, target: Target, url: str, *, is_own_host: bool = False) -> None:
        """Raises ``NotThisMachine`` for another machine's address, unless ``is_own_host``."""
        if not is_own_host:
            refuse_other_machines(url)
        self.url = url.rstrip("/")
        self.has_audit = target.audit is not None
        self._target = target

    def create_event(self, event: str, capacity: int, _opens_at: float | None = None) -> None:
        """Send the set-up request, where the file has one. Raises ``OfficeError`` unless it succeeds.

        It is not told when the event opens: no buyer comes earlier.
        """
        if self._target.setup is not None:
            self._ask(self._target.setup, {"event": event, "capacity": capacity})

    def audit(self, event: str) -> bytes:
        if self._target.audit is None:
            raise OfficeError("the target file names no audit")
        return self._ask(self._target.audit, {"event": event})

    def guard(self) -> GuardState:
        raise OfficeError("a target has no guard that is known here")

    def _ask(self, ask: Ask, values: dict[str, str | int]) -> bytes:
        return send(self.url, fill(ask, values))


def send(url: str, request: Request) -> bytes:
    """Send one request; returns the body of its answer. Raises ``OfficeError`` for any status but 2xx."""
    what = f"{request.method} {request.path}"
    try:
        answer = ask(
            request.method, url + request.path, request.body, request.headers,
            timeout_s=_TIMEOUT_S, most_bytes=MOST_AUDIT_BYTES,
        )  # fmt: skip
    except NoAnswer as error:
        raise Unreachable(f"{what}: nobody answers at {url} ({error}). Does the service run there?") from None
    if not answer.is_fine:
        said = printable(answer.body[:_SHOWN].decode(errors="replace").strip() or answer.reason)
        raise CallRefused(f"{what} was answered by {url} with {answer.status}: {said}", answer.status, None)
    return answer.body


class RunningTarget(process.ServerProcess):
    """A target for as long as a ``with`` block lasts: started if the file says how, else only asked for a sign of life.

    The port is free when it is chosen; another program could take it before the service does. Then the service
    cannot listen and ends, and the lab reports that.
    """

    def __init__(self, target: Target, folder: Path, capacity: int, *, is_own_host: bool = False) -> None:
        super().__init__(folder / "server.log")
        self.target = target
        self.url = target.url
        self._data = folder / "data"
        self._capacity = capacity
        self._is_own_host = is_own_host
        self._why_not_ready = "it did not answer"

    @property
    def office(self) -> TargetOffice:
        return TargetOffice(self.target, self.url, is_own_host=self._is_own_host)

    def locust_options(self, folder: Path) -> list[str]:
        own = ["--i-own-this-host"] if self._is_own_host else []
        return ["--target", str(folder / "experiment.json"), *own]

    def start(self) -> None:
        """Start it if the file says how; if not, see that something answers at its address."""
        if self.target.start is not None:
            self.ready_within_s = self.target.start.within_s
            super().start()
            return
        office = self.office
        with contextlib.suppress(CallRefused):  # any answer is a sign of life
            send(office.url, Request("GET", "/", "/"))

    def _launch(self) -> subprocess.Popen[bytes]:
        self._data.mkdir(0o700, parents=True, exist_ok=True)
        port = _free_port()
        values = {"port": port, "python": sys.executable, "data": self._data, "capacity": self._capacity}
        words = [PLACEHOLDER.sub(lambda found: str(values[found[1]]), word) for word in self._how.command]
        directory = Path(self.target.directory or ".")
        program = _find_program(words[0], directory)
        if program is None:
            raise NotReady(f"the target's command cannot be started: there is no program {words[0]!r}")
        self.url = f"http://127.0.0.1:{port}"
        return process.start([program, *words[1:]], log=self.log, environment=_environment(), directory=directory)

    @property
    def _how(self) -> StartCommand:
        if self.target.start is None:
            raise RuntimeError("this target is not started by the lab")
        return self.target.start

    def _is_ready(self) -> bool:
        path = self._how.ready
        try:
            send(self.url, Request("GET", path, path))
        except CallRefused as error:
            self._why_not_ready = f"GET {path} was answered with {error.status}"
            return error.status < _SERVER_ERROR
        except Unreachable:
            return False
        return True

    def _not_ready(self, status: int | None) -> NotReady:
        lines = process.log_tail(self.log).splitlines()
        said = f"Its log {self.log} ends:\n" + "\n".join(map(printable, lines)) if lines else "It printed nothing."
        if status is None:
            return NotReady(f"the target was not ready within {self.ready_within_s:g} s: {self._why_not_ready}. {said}")
        return NotReady(f"the target's command ended with status {status}. {said}")


def _find_program(name: str, directory: Path) -> str | None:
    """A full path: as named from the target file's directory, else on PATH."""
    beside = (directory / name).absolute()  # not resolved: a venv is found by the link to its Python
    return str(beside) if "/" in name and os.access(beside, os.X_OK) else shutil.which(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """The environment without the settings of the lab and the ticket office."""
    mine = ("LASTSEAT_", "LOCUST_", "GUNICORN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}
