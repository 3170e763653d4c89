"""A running target: started if its file says how, set up before each round, asked for its audit at the end.

An address of another machine is refused, so that none is loaded by accident, unless the user says that they own it.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadtests.lab.checks.orders import OrderList
from loadtests.lab.protocol.adapter import Request
from loadtests.lab.protocol.admin_api import MOST_AUDIT_BYTES, CallRefused, OfficeError, Unreachable
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers import process
from loadtests.lab.servers.office import NotReady
from loadtests.lab.target.cookies import Cookies
from loadtests.lab.target.filling import CannotBeFilled, fill
from loadtests.lab.target.masking import hide, is_secret_name, opened, secrets_of
from loadtests.lab.target.placeholders import as_text, environment, fill_text
from loadtests.lab.target.reading import AnswerView, elements, fits, has_more_pages, look_up, meets, take
from loadtests.lab.target.tables import OrdersRequest, RequestStep, SetupStep, StartCommand, Target
from loadtests.lab.target.understanding import described, identity, is_ok
from loadtests.lab.untrusted import printable

_TIMEOUT_S = 20.0
_SERVER_ERROR = 500
_SHOWN = 200
_COMMAND_S = 120.0
_MOST_PAGES = 1000
_PAGE = "page"


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

    def __init__(
        self,
        target: Target,
        url: str,
        *,
        is_own_host: bool = False,
        data: Path | None = None,
        watch: Callable[[Request | list[str], AnswerView], object] = lambda _asked, _answer: None,
    ) -> None:
        """``data`` is the directory that the service was given; ``watch`` is told of every request and command.

        Raises ``NotThisMachine`` for another machine's address, unless ``is_own_host``.
        """
        if not is_own_host:
            refuse_other_machines(url)
        self.url = url.rstrip("/")
        self.has_audit = target.audit is not None
        self.values: dict[str, Any] = {}
        """What the set-up has taken from its answers."""
        self._target, self._given = opened(target)
        self._data = data
        self._watch = watch
        self._cookies = Cookies()
        self._earlier: list[str] = []
        self._secrets = secrets_of(target)

    def create_event(self, event: str, capacity: int, _opens_at: float | None = None) -> None:
        """Take the steps of the set-up, where the file has some. Raises ``OfficeError`` unless each succeeds.

        It is not told when the event opens: no buyer comes earlier.
        """
        self._cookies = Cookies()
        for number, step in enumerate(self._target.setup_steps, 1):
            self._set_up(step, {"event": event, "capacity": capacity}, f"step {number} of the set-up")
        if self._target.orders is not None:
            self._earlier = self._list(self._target.orders, event)[0]

    def _set_up(self, step: SetupStep, values: dict[str, Any], what: str) -> None:
        """Take one step of the set-up, and keep what it takes."""
        everything = {**self._given, **self.values, **values}
        if step.command:
            reading = self._run(step, everything, what)
            is_right = reading.status == 0 if step.ok is None else meets(step.ok, reading)
        else:
            reading = self._send(step, everything)
            is_right = is_ok(step, reading)
        if not is_right:
            raise self._refused(step, reading)
        for name, source in step.take.items():
            found = take(source, reading, values.get("capacity"))
            if found is None:
                said = self.shown(reading.text[:_SHOWN])
                raise OfficeError(f"{what}: there is no `{name}` ({described(source)}) in its answer: {said}")
            self.values[name] = found
            if is_secret_name(name):
                self._secrets.add(as_text(found))

    def audit(self, event: str) -> bytes:
        if self._target.audit is None:
            raise OfficeError("the target file names no audit")
        return self._answer(self._target.audit, event).body

    def orders(self, event: str) -> OrderList | None:
        """The orders of an event as the service lists them; None where the file names no list. Raises ``OfficeError``.

        What stood there before the set-up was done is none of this round.
        """
        if self._target.orders is None:
            return None
        listed, missing = self._list(self._target.orders, event)
        return OrderList(event=event, orders=listed, earlier=self._earlier, missing=missing)

    def _list(self, orders: OrdersRequest, event: str) -> tuple[list[str], str]:
        """The ids on all pages, and why they are not all, where they are not."""
        step: RequestStep = orders
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            reading = self._answer(step, event)
            listed = elements(reading, orders.list)
            if listed is None:
                raise OfficeError(f"[orders] there is no list at `{orders.list}` in the answer to {step.path}")
            ids = [identity(look_up(each, orders.id)) for each in listed if fits(each, orders.where)]
            found += [each for each in ids if each is not None]
            if orders.next is None:
                more = has_more_pages(reading, len(listed))
                return found, "the list has more pages; say in [orders] `next` where the next one is" if more else ""
            following = take(orders.next, reading)
            if not isinstance(following, str) or not following:
                return found, ""
            self.values[_PAGE] = following
            step = msgspec.structs.replace(orders, path=f"{{{_PAGE}}}")
        return found, f"the list has more than {_MOST_PAGES} pages"

    def shown(self, text: str) -> str:
        """A text as messages may show it."""
        return printable(hide(text, self._secrets))

    def _answer(self, step: RequestStep, event: str) -> AnswerView:
        reading = self._send(step, {**self._given, **self.values, "event": event})
        if not is_ok(step, reading):
            raise self._refused(step, reading)
        return reading

    def _send(self, step: RequestStep, values: Mapping[str, Any]) -> AnswerView:
        """One request, with the cookies that the set-up was given: who has logged in there may see the lists, too."""
        try:
            request = fill(step, values, self.url)
        except CannotBeFilled as error:
            raise OfficeError(f"{step.method} {step.path}: {error}") from None
        address = request.address(self.url)
        headers = request.headers | self._cookies.header(address)
        try:
            answer = ask(
                request.method, address, request.body, headers, timeout_s=_TIMEOUT_S, most_bytes=MOST_AUDIT_BYTES
            )
        except NoAnswer as error:
            raise Unreachable(
                f"{step.method} {step.path}: nobody answers at {self.url} ({error}). Does the service run there?"
            ) from None
        reading = AnswerView(answer.status, answer.body, answer.headers)
        self._cookies.keep(address, reading)
        self._watch(request, reading)
        return reading

    def _run(self, step: SetupStep, values: Mapping[str, Any], what: str) -> AnswerView:
        """Run a command of the set-up where the service's own runs; its status and output as an answer."""
        try:
            command = Command.of(self._target, step.command, values, self._data, self.url)
        except KeyError as error:
            raise OfficeError(f"{what}: there is no value for {{{error.args[0]}}} here") from None
        try:
            done = subprocess.run(
                command.words, cwd=command.directory, env=command.environment, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=_COMMAND_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OfficeError(f"{what}: the command {step.command[0]} did not run: {error}") from None
        reading = AnswerView(done.returncode, done.stdout)
        self._watch(command.words, reading)
        if done.returncode:
            said = self.shown(done.stderr.decode(errors="replace").strip()[-_SHOWN:])
            raise OfficeError(f"{what}: {step.command[0]} ended with status {done.returncode}: {said}")
        return reading

    def _refused(self, step: RequestStep, reading: AnswerView) -> CallRefused:
        said = self.shown(reading.text[:_SHOWN].strip())
        what = f"{step.method} {step.path}"
        return CallRefused(f"{what} was answered by {self.url} with {reading.status}: {said}", reading.status, None)


class Command(NamedTuple):
    """A program of the target's, as it is run: its words, where, and with which environment."""

    words: list[str]
    directory: Path
    environment: dict[str, str]

    @classmethod
    def of(cls, target: Target, words: list[str], values: Mapping[str, Any], data: Path | None, url: str) -> Command:
        """Fill in a command. Raises ``KeyError`` for a value that there is not, ``NotReady`` without the program."""
        start = target.start or StartCommand([])
        known = {"python": sys.executable, "url": url, "port": urllib.parse.urlsplit(url).port, **values}
        known |= {"data": str(data)} if data is not None else {}
        directory = Path(target.directory or ".") / fill_text(start.directory, known)
        if not directory.is_dir():
            raise NotReady(f"[start] `directory` is {str(directory)!r}, which is no folder")
        filled = [fill_text(word, known) for word in words]
        program = _find_program(filled[0], directory)
        if program is None:
            raise NotReady(f"the target's command cannot be started: there is no program {words[0]!r}")
        own = {name: fill_text(text, known) for name, text in start.env.items()}
        return cls([program, *filled[1:]], directory, _environment() | own)


class RunningTarget(process.ServerProcess):
    """A target for as long as a ``with`` block lasts: started if the file says how, else only asked for a sign of life.

    The port is free when it is chosen; another program could take it before the service does. Then the service
    cannot listen and ends, and the lab reports that.
    """

    def __init__(
        self,
        target: Target,
        folder: Path,
        capacity: int,
        *,
        is_own_host: bool = False,
        variables: process.Variables = process.no_variables,
    ) -> None:
        """``variables``: what more the processes that the lab starts have in their environment."""
        super().__init__(folder / "server.log")
        self._variables = variables
        self.target = target
        self.url = target.url
        self._data = folder / "data"
        self._capacity = capacity
        self._is_own_host = is_own_host
        self._why_not_ready = "it did not answer"

    @property
    def folder(self) -> Path:
        return self.log.parent

    @property
    def office(self) -> TargetOffice:
        return TargetOffice(self.target, self.url, is_own_host=self._is_own_host, data=self._data)

    def locust_options(self, folder: Path) -> list[str]:
        own = ["--i-own-this-host"] if self._is_own_host else []
        return ["--target", str(folder / "experiment.json"), *own]

    def start(self) -> None:
        """Start it if the file says how; if not, see that something answers at its address."""
        if self.target.start is None:
            _knock(self.office.url, "/")
            return
        self.ready_within_s = self.target.start.within_s
        super().start()

    def _launch(self) -> subprocess.Popen[bytes]:
        self._data.mkdir(0o700, parents=True, exist_ok=True)
        if self._process is None:  # started again, it is where its buyers look for it
            self.url = f"http://127.0.0.1:{_free_port()}"
        values = {**environment(), "capacity": self._capacity}
        program = Command.of(self.target, self._how.command, values, self._data, self.url)
        everything = {**program.environment, **self._variables(self.folder)}
        return process.start(program.words, log=self.log, environment=everything, directory=program.directory)

    @property
    def ready_path(self) -> str:
        return self._how.ready

    @property
    def _how(self) -> StartCommand:
        if self.target.start is None:
            raise RuntimeError("this target is not started by the lab")
        return self.target.start

    def _is_ready(self) -> bool:
        path = self._how.ready
        try:
            status = _knock(self.url, path)
        except Unreachable:
            return False
        self._why_not_ready = f"GET {path} was answered with {status}"
        return status < _SERVER_ERROR

    def _not_ready(self, status: int | None) -> NotReady:
        lines = (printable(hide(line, secrets_of(self.target))) for line in process.log_tail(self.log).splitlines())
        tail = "\n".join(lines)
        said = f"Its log {self.log} ends:\n{tail}" if tail else "It printed nothing."
        if status is None:
            return NotReady(f"the target was not ready within {self.ready_within_s:g} s: {self._why_not_ready}. {said}")
        return NotReady(f"the target's command ended with status {status}. {said}")


def _knock(url: str, path: str) -> int:
    """The status of the answer to a GET. Raises ``Unreachable``."""
    try:
        return ask("GET", url.rstrip("/") + path, timeout_s=_TIMEOUT_S).status
    except NoAnswer as error:
        raise Unreachable(f"GET {path}: nobody answers at {url} ({error}). Does the service run there?") from None


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
