"""The office of ``docs/one-host.md`` as its unit starts it: the unit's command, the settings of its file, a folder of
the test in the place of ``/var/lib/lastseat``. No systemd: what the unit says of signals is done here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from typed import CHECKOUT, JSON, Answer, environment, free_port, send, wait_for

from loadtests.lab.servers import process

EXAMPLE = CHECKOUT / "examples" / "one-host"
PAGE = CHECKOUT / "docs" / "one-host.md"
STATE = "/var/lib/lastseat"
PROGRAMS = "/opt/lastseat/.venv/bin"
NAME = "tickets.example.org"


def unit(setting: str) -> str:
    """What the unit says; a setting that stands there once."""
    lines = (EXAMPLE / "lastseat.service").read_text().splitlines()
    [value] = [line.partition("=")[2] for line in lines if line.startswith(f"{setting}=")]
    return value


def settings() -> dict[str, str]:
    """What the file of settings says."""
    lines = [line for line in (EXAMPLE / "lastseat.env").read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``systemd-analyze``. It runs where no systemd does; where it can be installed it has to be there."""
    if shutil.which("systemd-analyze") is None:
        if shutil.which("apt-get"):
            pytest.fail("there is no systemd-analyze: sudo apt-get install systemd")
        pytest.skip("there is no systemd here, and no apt-get to install it: what it says of the unit is not tested")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


def about_unit(folder: Path, text: str, drop_in: str = "") -> list[str]:
    """What systemd finds wrong in the unit, and in what stands beside it in ``lastseat.service.d``."""
    units = folder / "units"
    for path, content in (("lastseat.service", text), ("lastseat.service.d/node.conf", drop_in)):
        (units / path).parent.mkdir(parents=True, exist_ok=True)
        (units / path).write_text(content.replace("/opt/lastseat/.venv/bin", str(Path(sys.executable).parent)))
    said = analyze("verify", str(units / "lastseat.service")).stderr
    # It reads the units of the machine, too.
    return [line for line in said.splitlines() if "lastseat" in line]


def block(name: str) -> str:
    """The commands of the page that stand behind this comment."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, name
    return found[1]


def commands(name: str, office: Office) -> str:
    """The same with the places of a test's office, and as its user: the test's own."""
    places = {
        STATE: str(office.folder),
        PROGRAMS: str(Path(sys.executable).parent),
        "127.0.0.1:8000": f"127.0.0.1:{office.port}",
        "lastseat:lastseat": f"{os.getuid()}:{os.getgid()}",
        "runuser -u lastseat -- ": "",
    }
    text = block(name)
    for there, here in places.items():
        text = text.replace(there, here)
    return text


class Office:
    """One office on one host; what is left of it is killed when its ``with`` block is left."""

    def __init__(self, folder: Path, *, arguments: str = "", through: Sequence[str] = (), **variables: str) -> None:
        """``arguments`` come behind those of the unit, ``through`` before its command; ``folder`` is its state
        directory.

        Of the settings of its file those in ``variables`` are others.
        """
        self.folder = folder
        self.port = free_port()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = unit("ExecStart").replace(PROGRAMS, str(Path(sys.executable).parent))
        self._command = [*through, *shlex.split(f"{command} {arguments}"), "--port", str(self.port)]
        given = {name: value.replace(STATE, str(folder)) for name, value in settings().items()} | variables
        self.data = Path(given["LASTSEAT_DATA"])
        self._environment = environment(folder, given)
        del self._environment["LASTSEAT_ADMIN_TOKEN"]
        self._process: subprocess.Popen[bytes] | None = None
        self.notified: list[str] = []

    def __enter__(self) -> Office:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            process.kill(self._process)

    def start(self) -> Office:
        """``systemctl start``, and return when it is ready to sell."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            # In no file system: a path of a test may be longer than an address has room for.
            name = f"lastseat-{os.getpid()}-{self.port}"
            notifications.bind(f"\0{name}")
            notifications.settimeout(60)
            self._process = process.start(
                self._command,
                log=self.folder.with_suffix(".log"),
                environment=self._environment | {"NOTIFY_SOCKET": f"@{name}"},
                directory=CHECKOUT,
            )
            self.notified.append(notifications.recv(4096).decode())
        wait_for(self._is_ready, "the office is ready")
        return self

    def stop(self) -> None:
        """``systemctl stop`` with ``KillMode=mixed``: SIGTERM to the master alone, and when it has ended SIGKILL to
        what is left. That is a combiner, if anything: it waits some seconds for other workers."""
        assert self._process is not None
        everything = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(int(unit("TimeoutStopSec"))) == 0
        for each in filter(runs, everything):
            assert "host_line.combiner" in " ".join(each.cmdline())
            each.kill()
        wait_for(lambda: not any(runs(each) for each in everything), "all of the office has ended")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def admin(self) -> dict[str, str]:
        """What the admin sends, who reads the token on the host."""
        return {"Authorization": f"Bearer {(self.data / 'admin-token').read_text().strip()}"}

    def call(self, method: str, path: str, content: bytes | None = None, **headers: str) -> Answer:
        """A call on the host itself, as the admin."""
        return send(self.port, method, path, content, JSON | self.admin | headers)

    def make_event(self, body: str) -> None:
        assert self.call("POST", "/events", body.encode()).status == 201

    def audit(self, event: str) -> list[bytes]:
        """The lines of the audit, without its header."""
        answer = self.call("GET", f"/events/{event}/audit")
        assert answer.status == 200
        return answer.content.splitlines()[1:]

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.folder.with_suffix(".log").read_text()
        try:
            return send(self.port, "GET", "/readyz", None, {}).status == 200
        except OSError:
            return False


def runs(it: psutil.Process) -> bool:
    """Whether it runs; an orphan that has ended may stay a zombie until init reaps it."""
    try:
        return it.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wide(folder: Path) -> list[str]:
    """What of a folder, itself included, anybody but its owner may enter or open."""
    every: list[Path] = [folder, *folder.rglob("*")]
    return [f"{path} {path.stat().st_mode & 0o777:o}" for path in every if path.stat().st_mode & 0o077]
