"""Where things are: what comes with the project, and the folders of the results.

Results go to ``<root>/<experiment>/<time>/`` and the link ``<root>/<experiment>/latest`` names the newest.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

PACKAGES = Path(__file__).resolve().parents[2]
"""The folder of ``service``, ``workers`` and ``loadtests``: the checkout, or where packages are installed."""
LOCUSTFILES = PACKAGES / "loadtests"
EXAMPLES = LOCUSTFILES / "examples"
BUY_LOCUSTFILE = LOCUSTFILES / "buy.py"


made: list[Path] = []
"""The results folders that this process has made."""


def new_results_folder(root: Path | str, experiment: str) -> Path:
    """Make an empty folder for one run of ``experiment`` and point ``latest`` at it.

    Two runs within one second get folders of their own: mkdir decides who comes first.
    """
    parent = Path(root).resolve() / experiment
    parent.mkdir(parents=True, exist_ok=True)
    moment = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = parent / (moment if number == 1 else f"{moment}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            _point_latest_at(folder)
            made.append(folder)
            return folder


def _point_latest_at(folder: Path) -> None:
    """Replace the link in one step, so that nobody ever finds it missing; without links there is none."""
    fresh = folder.parent / f".latest-{os.getpid()}"
    with contextlib.suppress(OSError):
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name, target_is_directory=True)
        fresh.replace(folder.parent / "latest")


def write_json(path: Path, content: Any) -> None:
    """Write it in one step: whoever is killed meanwhile leaves nothing of that name."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    unfinished.rename(path)


def shown(path: Path) -> str:
    """A path as a person types it: relative to the current directory where it lies below it."""
    with contextlib.suppress(ValueError):
        return as_text(path.relative_to(Path.cwd()))
    return as_text(path)


def as_text(argument: Path | str) -> str:
    """A path, or a word of the command line, as text that can be written: also where the locale cannot read it."""
    return os.fsencode(argument).decode("utf-8", "replace")
