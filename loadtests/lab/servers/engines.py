"""Private servers for the stores that need an engine: each is started when it is first asked for, all end together.

An engine is one file and one line in ``ENGINES``: a ``PrivateServer`` with ``url``, ``fresh_database``, ``pause`` and
``resume``, and, to be reached from other hosts, ``listen_at`` and ``by_address``.
"""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Self

from loadtests.lab.servers import process
from loadtests.lab.servers.traced import Traced

ENGINES: dict[str, str] = {
    "postgres": "loadtests.lab.servers.postgres:PostgresServer",
    "redis": "loadtests.lab.servers.valkey:ValkeyServer",
}


_LOG_TAIL = 10


class NoEngine(Exception):
    """There is no server to start, or it does not start. The message says what to install or where the log is."""


class PrivateServer(process.ServerProcess):
    """An engine's server. ``folder`` keeps the log when it has ended; ``_own``, a directory, is removed then.

    The path of ``_own`` is short, for that of a Unix socket may have about 100 characters. ``options`` are more of the
    server's settings, and win over those of the lab.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, options: Sequence[str] = (), under: Sequence[str] = ()) -> None:
        super().__init__(folder / f"{self.name}.log")
        self.folder = folder
        self._options = list(options)
        self._own = Path(tempfile.mkdtemp(prefix=f"lastseat-{self.name}-"))
        self._address = ""
        self._network: int | None = None
        self.variables: process.Variables = process.no_variables
        self.traced = Traced(under, self._own / "strace", self._files, names_with_files=True)

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            shutil.rmtree(self._own, ignore_errors=True)
            raise

    def __exit__(self, *_: object) -> None:
        with process.undisturbed():
            self.discard()
            shutil.rmtree(self._own, ignore_errors=True)

    @property
    def temporary(self) -> list[Path]:
        """The folders that are removed when it has ended, and that stay where the lab is killed."""
        return [self._own]

    @property
    def _files(self) -> Path:
        """The folder of what it keeps."""
        return self._own / "data"

    def start(self) -> None:
        """Start on the existing data, and return when it answers. Raises ``NoEngine``; then nothing is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        super().start()

    def discard(self) -> None:
        """End it when its data are not needed any more."""
        self.stop()

    @staticmethod
    def written(settings: Mapping[str, str]) -> list[str]:
        """Settings as its ``options``."""
        return [f"{name}={value}" for name, value in settings.items()]

    def restart(self) -> None:
        """``kill -9``, and start again on what the disk kept."""
        self.kill()
        self.start()

    def _give_up(self) -> None:
        self.kill()

    def _not_ready(self, status: int | None) -> NoEngine:
        return NoEngine(f"the server did not come up. Its log {self.log} ends:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        return process.log_tail(self.log, _LOG_TAIL) or "(no log)"


class Engines:
    """The engines that were asked for; ``folder`` gets a folder of each."""

    def __init__(
        self,
        folder: Path,
        listen_at: tuple[str, int] | None = None,
        *,
        variables: process.Variables = process.no_variables,
        settings: str = "",
        under: Sequence[str] = (),
    ) -> None:
        """``listen_at``: an address, and a process in whose network namespace the engines also listen there.

        ``settings``: more of theirs, as ``read_engine_settings`` reads them. ``under``: a tracer; see ``Traced``.
        """
        self._folder = folder
        self._variables = variables
        self._settings = read_engine_settings(settings)
        self._under = under
        self._listen_at = listen_at
        self._running = ExitStack()
        self._servers: dict[str, Any] = {}

    def server(self, store: str) -> Any:
        """The running server of a store's engine."""
        if store not in self._servers:
            kind = pkgutil.resolve_name(ENGINES[store])
            server = kind(self._folder / store, kind.written(self._settings), self._under)
            server.variables = self._variables
            if self._listen_at is not None:
                server.listen_at(*self._listen_at)
            self._servers[store] = self._running.enter_context(server)
        return self._servers[store]

    def fresh(self, store: str) -> str:
        """The address of an empty, prepared database, for ``LASTSEAT_STORE``. A store without an engine is its name."""
        if store not in ENGINES:
            return store
        address: str = self.server(store).fresh_database()
        set_up(address)
        self.server(store).traced.settle()
        return address if self._listen_at is None else str(self.server(store).by_address(address))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def remove_temporary(folders: str) -> None:
    """Remove folders, one a line, that a lab has left which was killed. Idempotent."""
    for folder in folders.splitlines():
        shutil.rmtree(folder, ignore_errors=True)


def read_engine_settings(text: str) -> dict[str, str]:
    """The settings in a text like ``appendfsync=everysec``. Raises ``ValueError``, which says what is allowed."""
    settings = dict(each.partition("=")[::2] for each in text.split(",")) if text else {}
    if not all(re.fullmatch(r"[a-z][a-z_-]*", name) and value for name, value in settings.items()):
        raise ValueError(f"{text!r} is no list of settings like appendfsync=everysec,save=60.")
    return settings


def set_up(address: str) -> None:
    """Run ``lastseat store init``. Raises ``NoEngine`` with what the service says where that fails."""
    done = subprocess.run(
        [sys.executable, "-c", "from service.commands.store import init; init()"],
        # In the environment: among the arguments `ps` would show a password to every user.
        env={**os.environ, "LASTSEAT_STORE": address, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise NoEngine(done.stderr.strip().removeprefix("Error: "))


def shown_address(store: str) -> str:
    """A store's address without its password, for messages and records."""
    scheme, separator, rest = store.partition("://")
    if not separator:
        return store
    rest = re.sub(r"(?i)(?<=[?&])\w*(password|secret)\w*=[^&]*&?", "", rest).rstrip("?&")
    before, at, after = rest.rpartition("@")
    user = before.partition(":")[0]
    return f"{scheme}://{user}{at if user else ''}{after}"
