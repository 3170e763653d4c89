"""Guards, line and rules under systematic thread interleavings, in one process on the memory store.

Where ``lastseat explore`` holds real workers at a few gates, here every switch between two bytecodes at which the
threads touch the same thing is a choice (frontrun, by dynamic partial order reduction).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.combinations import shortened

pytestmark = pytest.mark.servers
PROGRAM = Path(__file__).with_name("interleavings.py")


def interleave(guard: str, batch: int) -> dict[str, Any]:
    frontrun = Path(sys.executable).with_name("frontrun")
    command = [str(frontrun), sys.executable, str(PROGRAM), guard, str(batch)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("batch", [1, 8])
def test_without_a_guard_some_interleaving_sells_the_seat_twice(batch: int) -> None:
    assert not interleave("none", batch)["holds"]


@pytest.mark.parametrize("batch", shortened([1, 8], 8))
def test_under_guard_thread_no_interleaving_does(batch: int) -> None:
    found = interleave("thread", batch)
    assert found["holds"], found["why"]
    assert found["explored"] > 1
