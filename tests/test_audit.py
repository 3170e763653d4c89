"""``make audit``, with a pip-audit that is played: found something, found nothing, and could not ask differ."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "audit"


def audit(folder: Path, played: str) -> subprocess.CompletedProcess[str]:
    program = folder / "build" / "audit" / "bin" / "pip-audit"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{played}\n")
    program.chmod(0o755)
    (folder / "requirements.txt").write_text("flask==3.1.3 \\\n    --hash=sha256:0\n")
    return subprocess.run([SCRIPT], cwd=folder, capture_output=True, text=True, check=False, timeout=150)


@pytest.mark.parametrize(
    ("played", "status", "says"),
    [
        ("exit 0", 0, "no known vulnerability in any of 1 pinned packages"),
        ("echo 'flask 3.1.3 CVE-0' > build/audit/found; exit 1", 1, "CVE-0"),
        ("echo 'Name or service not known' >&2; exit 1", 70, "Nothing was audited"),
        ("exit 2", 70, "Nothing was audited"),
    ],
)
def test_what_was_found_is_told_apart_from_not_having_asked(
    tmp_path: Path, played: str, status: int, says: str
) -> None:
    ended = audit(tmp_path, played)
    assert ended.returncode == status, ended
    assert says in ended.stdout + ended.stderr
