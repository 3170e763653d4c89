"""gunicorn as people type it: in some directory, with some variables; for tests of what that really does.

A typed server has a directory, a port and a process group of its own, and its group is killed by id when its ``with``
block is left. Nothing is written to the user's home: gunicorn's control socket would go there.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flask.testing import FlaskClient

from loadtests.lab.servers import process

CHECKOUT = Path(__file__).resolve().parent.parent
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))
TOKEN = "test-token"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}
PATIENCE_S = 90.0

T = TypeVar("T")


def as_admin(client: FlaskClient) -> dict[str, str]:
    """The headers with which the admin of an office in this process asks."""
    return {"Authorization": f"Bearer {client.application.extensions['admin_token']}"}


_POLL_S = 0.01


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The ``code`` of a problem."""
        return str(self.json["code"])

    @property
    def timing(self) -> dict[str, float]:
        """``Server-Timing`` as a dictionary of milliseconds."""
        return {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", self.headers["Server-Timing"])}


def wait_for(wanted: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Look until ``wanted`` gives something true, and give that; fails after ``patience_s`` with ``what``."""
    deadline = time.monotonic() + patience_s
    while not (found := wanted()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience_s:g} s")
        time.sleep(_POLL_S)
    return found


def environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The tests' environment without any setting of the service or of gunicorn, and with ``variables``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LASTSEAT_") and name not in {"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "XDG_RUNTIME_DIR"}
    }
    return kept | {"HOME": str(home), "LASTSEAT_ADMIN_TOKEN": TOKEN} | dict(variables)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Typed:
    """One gunicorn; ``arguments`` are what follows its name, but for ``-b``.

    ``through`` stands before it on the command line. What it says is kept in files beside ``directory``.
    """

    def __init__(
        self,
        arguments: str | Sequence[str],
        directory: Path,
        *,
        through: Sequence[str] = (),
        program: Sequence[str] = (GUNICORN,),
        home: Path | None = None,
        port: int | None = None,
        **variables: str,
    ) -> None:
        self.directory = directory
        self.data = Path(variables.get("LASTSEAT_DATA") or directory / "data")
        self.port = port or free_port()
        self._files = home or directory.parent / f"{directory.name}.files"
        self._files.mkdir(parents=True, exist_ok=True)
        self._environment = environment(self._files, variables)
        typed = arguments.split() if isinstance(arguments, str) else list(arguments)
        self._command = [*through, *program, "-b", f"127.0.0.1:{self.port}", *typed]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Typed:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def launch(self) -> Typed:
        """Start, and do not wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    def start(self) -> Typed:
        """Start, and return when one of its workers answers."""
        try:
            self.launch()
            wait_for(self._answers, "an answer from the server")
        except BaseException:
            self.kill()
            raise
        return self

    def end(self) -> None:
        """SIGTERM, as a user ends it."""
        if self._process is not None:
            process.end(self._process, grace_s=10)

    def kill(self) -> None:
        """``kill -9`` of every process at once."""
        if self._process is not None:
            process.kill(self._process)

    def status_at_exit(self, patience_s: float = 15.0) -> int:
        """Wait until it has ended by itself, and give its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(patience_s)
        finally:
            self.kill()

    @property
    def out(self) -> Path:
        return self._files / "out"

    @property
    def err(self) -> Path:
        return self._files / "err"

    @property
    def said(self) -> str:
        """What it has written to standard error so far."""
        return self.err.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return [pid for pid in process.running_in_group(self.pid) if pid != self.pid]

    def call(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 20.0,
    ) -> Answer:
        """One request on a connection of its own, as the admin; ``content`` is sent as JSON, bytes as they are."""
        headers = ADMIN | dict(headers or {})
        if content is not None and not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), JSON | headers
        return send(self.port, method, path, content, headers, timeout_s=timeout_s)

    def buy(self, event: str = "show", quantity: int = 1, **more: Any) -> Answer:
        return self.call("POST", f"/events/{event}/orders", {"quantity": quantity}, **more)

    def audit(self, event: str = "show") -> bytes:
        answer = self.call("GET", f"/events/{event}/audit")
        assert answer.status == 200, answer
        return answer.content

    def records(self, event: str = "show") -> list[dict[str, Any]]:
        """The audit without its header."""
        return [json.loads(line) for line in self.audit(event).splitlines()[1:]]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with status {self._process.returncode} and said:\n{self.said}")
        try:
            answer = self.call("GET", "/healthz", timeout_s=5)
        except (OSError, http.client.HTTPException):
            return False
        # Another server on this port would answer with a worker that is not of our group.
        return int(answer.headers.get("Last-Seat-Worker", 0)) in self.workers()


def send(
    port: int, method: str, path: str, content: object, headers: Mapping[str, str], *, timeout_s: float = 20.0
) -> Answer:
    """One request exactly as given: nothing is added but what HTTP needs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, content, dict(headers))  # type: ignore[arg-type]
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]
    finally:
        connection.close()


def send_raw(port: int, request: bytes) -> bytes:
    """Bytes as they are, then the end of the stream; everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def flock_holders(path: Path) -> set[int]:
    """Who holds an exclusive flock on ``path``, as the kernel tells it (or on a file of its number on another disk)."""
    inode = path.stat().st_ino if path.exists() else -1
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
    return {int(each[4]) for each in locks if each[1:4:2] == ["FLOCK", "WRITE"] and each[5].endswith(f":{inode}")}
