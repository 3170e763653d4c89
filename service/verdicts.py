"""The last verdict that the lab left beside this office, for the page. Read from its files: the two share no code.

Only what the page shows is read; what a verdict says more is the lab's business.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

_LARGEST = 4 << 20


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
    """The newest of ``results/<experiment>/latest/verdict.json``; None where there is none that can be read."""
    try:
        found = [(path.stat().st_mtime, path) for path in results.glob("*/latest/verdict.json")]
        changed, path = max(found)
        if path.stat().st_size > _LARGEST:
            return None
        verdict = msgspec.json.decode(path.read_bytes(), type=Verdict)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    verdict.experiment = path.parent.parent.name
    verdict.drawn_at = datetime.fromtimestamp(changed, UTC)
    return verdict
