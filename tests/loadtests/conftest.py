"""A real locust beside a real office."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typed import free_port

from loadtests.lab.servers.office import RunningOffice
from loadtests.lab.servers.process import running_in_group

BUY = Path(__file__).resolve().parents[2] / "loadtests" / "buy.py"
LOCUST = [sys.executable, "-m", "locust", "-f", str(BUY)]
ENDS_WITHIN_S = 150.0


class Sale:
    """A locust that runs or ran, in a session of its own, and what it left in its results folder."""

    def __init__(self, process: subprocess.Popen[str], results: Path) -> None:
        self.process = process
        self.results = results
        self.output = ""

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """A signal to the whole group, as Ctrl-C in a terminal sends it."""
        os.killpg(self.process.pid, number)

    def finish(self) -> Sale:
        """Wait for the end and keep what was printed."""
        self.output, _ = self.process.communicate(timeout=ENDS_WITHIN_S)
        return self

    @property
    def status(self) -> int:
        return self.process.returncode

    @property
    def folder(self) -> Path:
        [latest] = self.results.glob("*/latest")
        return latest.resolve()

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The records, without the header."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()][1:]

    @property
    def verdict(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "verdict.json").read_text())
        return content


@pytest.fixture
def start_locust(tmp_path: Path) -> Iterator[Callable[..., Sale]]:
    """Start ``locust -f loadtests/buy.py`` against an office or an address; killed at the end if it still runs."""
    with contextlib.ExitStack() as running:

        def start(office: RunningOffice | str, *options: str) -> Sale:
            url, data = (office, tmp_path) if isinstance(office, str) else (office.url, office.data)
            results = tmp_path / "results"
            process = subprocess.Popen(
                [*LOCUST, "--host", url, "--data", str(data), "--results", str(results), *options, *_own_port(options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
                start_new_session=True,
            )
            running.callback(_kill, process)
            return Sale(process, results)

        yield start


@pytest.fixture
def hold_sale(start_locust: Callable[..., Sale]) -> Callable[..., Sale]:
    """The same without a page, run to its end."""
    return lambda office, *options: start_locust(office, "--headless", *options).finish()


def _own_port(options: Sequence[str]) -> Sequence[str]:
    """Locust's master listens at one port wherever it runs, and another's workers would come to it."""
    if "--processes" not in options:
        return ()
    port = str(free_port())
    return ("--master-bind-port", port, "--master-port", port)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None or running_in_group(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
