"""A server of one's own for as long as a ``with`` block lasts: what the engines of the lab have in common.

An engine says how it is launched, when it answers and what it takes to stop it; that nothing is left of one that does
not come up, on the disk or running, is said here once.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from loadtests.lab.servers import process
from loadtests.lab.servers.engines import NoEngine

_LOG_TAIL = 10


class PrivateServer(ABC):
    """``folder`` keeps the log when it has ended. ``_own`` is a directory with a short path (that of a Unix socket may
    have about 100 characters), and is gone then.

    ``options`` are more of its settings, and win over those of the lab.
    """

    name: ClassVar[str]
    ready_within_s: ClassVar[float]
    poll_s: ClassVar[float] = 0.01

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._options = list(options)
        self._own = Path(tempfile.mkdtemp(prefix=f"lastseat-{self.name}-"))
        self._address = ""
        self._network: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NoEngine("this server was not started")
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._own, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with process.undisturbed():
            self.discard()
            shutil.rmtree(self._own, ignore_errors=True)

    def start(self) -> None:
        """Start, on the data there are, and return when it answers. Raises ``NoEngine``; then nothing is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._process = self._launch()
            self._wait_until_ready()
        except BaseException:
            with process.undisturbed():
                self.kill()
            raise

    @abstractmethod
    def stop(self) -> None:
        """End it as an administrator would. Idempotent."""

    def discard(self) -> None:
        """End it when its data are of no use any more."""
        self.stop()

    def kill(self) -> None:
        """``kill -9``: the crash."""
        if self._process is not None:
            process.kill(self._process)

    def restart(self) -> None:
        """``kill -9``, and start again on what the disk kept."""
        self.kill()
        self.start()

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Begin it, on the data there are."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it has read its data and answers."""

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"the server did not come up. Its log {self.log} ends:\n{self._last_lines()}")
            time.sleep(self.poll_s)

    def _last_lines(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:])
        return "(no log)"
