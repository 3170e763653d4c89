"""A PgBouncer before a PostgreSQL of the lab, for as long as a ``with`` block lasts: Debian's own program."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine, PrivateServer
from loadtests.lab.servers.postgres import PORT, USER, PostgresServer, other_user

_SBIN = "/usr/sbin"


class PgBouncer(PrivateServer):
    """``options`` are lines of its settings: ``["pool_mode = transaction"]``."""

    name = "pgbouncer"
    ready_within_s = 15.0

    def __init__(self, folder: Path, behind: PostgresServer, options: Sequence[str]) -> None:
        super().__init__(folder, options)
        self._behind = behind

    def through(self, address: str) -> str:
        """The database at ``address``, by way of this pooler."""
        return address.replace(f"host={self._behind._own}", f"host={self._own}&port={PORT + 1000}")

    def _launch(self) -> subprocess.Popen[bytes]:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{_SBIN}")
        if program is None:
            raise NoEngine("there is no pgbouncer on PATH. Install it: `sudo apt-get install pgbouncer`.")
        settings, users = self._own / "pgbouncer.ini", self._own / "users"
        users.write_text(f'"{USER}" "{self._behind.password}"\n')
        lines = [
            *("[databases]", f"* = host={self._behind._own} port={PORT}", "[pgbouncer]", "listen_addr ="),
            *(f"listen_port = {PORT + 1000}", f"unix_socket_dir = {self._own}", "unix_socket_mode = 0777"),
            *("auth_type = scram-sha-256", f"auth_file = {users}", "max_client_conn = 500", *self._options),
        ]
        settings.write_text("\n".join(lines) + "\n")
        user = other_user()  # it does not run as root either
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (self._own, settings, users):
                os.chown(path, account.pw_uid, account.pw_gid)
        return process.start(
            [program, str(settings)], log=self.log, environment={"LC_ALL": "C"}, directory=Path("/"), user=user
        )

    def stop(self, *, grace_s: float = 5.0) -> None:
        if self._process is not None:
            process.end(self._process, grace_s=grace_s)

    def _is_ready(self) -> bool:
        # A connection made to see whether it answers would still be counted among its clients.
        return "process up" in self.log.read_text(errors="replace")
