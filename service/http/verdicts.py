"""The last verdict that the lab left beside this office, for the page. Read from its files: the two share no code.

Only what the page shows is read; what a verdict says more is the lab's business.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_LARGEST = 4 << 20
_MOST_TRIED = 20


class _Witness(msgspec.Struct):
    violation: str
    text: str = ""


class _Check(msgspec.Struct):
    name: str
    verdict: str
    count: int = 0
    witness: list[_Witness] = []


class Verdict(msgspec.Struct):
    """What the judges found in one run."""

    verdict: str
    operations: int = 0
    checks: list[_Check] = []
    experiment: str = ""
    drawn_at: datetime | None = None

    @property
    def wrong(self) -> list[_Check]:
        """The checks that found something."""
        return [check for check in self.checks if check.verdict != "valid"]


def last_verdict(results: Path) -> Verdict | None:
    """The newest of ``results/<experiment>/latest/verdict.json`` that can be read; None where there is none.

    Whatever else lies there under that name is passed over: a pipe, a link to nothing, a file without an end.
    """
    try:
        found = sorted(((_changed(path), path) for path in results.glob("*/latest/verdict.json")), reverse=True)
    except OSError:
        return None
    for changed, path in found[:_MOST_TRIED]:
        try:
            verdict = msgspec.json.decode(_content(path), type=Verdict)
            verdict.drawn_at = datetime.fromtimestamp(changed, UTC)
        except (OSError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            continue
        verdict.experiment = os.fsencode(path.parent.parent.name).decode(errors="replace")
        return verdict
    return None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _content(path: Path) -> bytes:
    """The content of a regular file; opened so that a pipe in its place keeps nobody waiting."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("it is no file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError("it is too large")
    return content
