"""``lastseat demo`` on real servers: what it shows, what it leaves, and that it leaves nothing running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers

LASTSEAT = [sys.executable, "-c", "from loadtests.lab.cli import main; main()"]
QUICK = ("--worker", "gevent", "--rounds", "1", "--capacity", "60")


def lastseat(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LASTSEAT, *arguments], cwd=directory, capture_output=True, text=True, timeout=150, check=False
    )


def processes_of(directory: Path) -> list[int]:
    """Processes whose working directory or environment names ``directory``: whoever the demo started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                said = (entry / "environ").read_bytes() + str((entry / "cwd").readlink()).encode()
            except OSError:
                continue
            if str(directory).encode() in said:
                found.append(int(entry.name))
    return found


def test_the_same_sale_goes_wrong_without_the_lock_and_ends_at_the_last_seat_with_it(tmp_path: Path) -> None:
    done = lastseat(tmp_path, "demo", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    off, on = said["cells"]
    assert (off["guard"], off["verdict"], off["kept"]) == ("none", "invalid", "yes")
    assert off["oversold"] > 0
    assert off["acknowledged"] - off["capacity"] == off["oversold"]
    assert (on["guard"], on["verdict"], on["acknowledged"], on["oversold"], on["lost"]) == ("file", "valid", 60, 0, 0)
    assert {"worker", "store", "think_ms", "sold_per_s", "refused_per_s", "p50_ms", "p99_ms"} <= on.keys()
    assert said["machine"]["cores"] >= 1

    latest = tmp_path / "results" / "demo" / "latest"
    for cell in ("gevent-json-none", "gevent-json-file"):
        kept = {file.name for file in (latest / "cells" / cell).iterdir()}
        assert {"experiment.json", "history.jsonl", "verdict.json", "server.log"} <= kept
    verdict = json.loads((latest / "cells" / "gevent-json-file" / "verdict.json").read_text())
    assert {"name": "restart", "verdict": "valid"}.items() <= verdict["checks"][-1].items()
    assert "gevent × 2 with the lock: 60 tickets for 60 seats" in (latest / "report.html").read_text()
    assert "2/2" in done.stderr
    assert processes_of(tmp_path) == []


def test_ctrl_c_stops_everything_and_says_where_the_rest_is(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*LASTSEAT, "demo", "--worker", "gevent", "--capacity", "100000", "--rounds", "9"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob("results/demo/latest/cells/*/parts-*/*.jsonl")):
            assert time.monotonic() < deadline, "the first round did not begin"
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=150)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130, said
    assert "0 of 2 cells were finished; what was measured is in results/demo" in said
    assert (tmp_path / "results/demo/latest/cells/gevent-json-none/history.jsonl").stat().st_size > 0
    assert processes_of(tmp_path) == []


def test_a_store_that_there_is_not_fails_the_lab_and_says_why(tmp_path: Path) -> None:
    done = lastseat(tmp_path, "demo", *QUICK, "--store", "bogus")
    assert done.returncode == 70
    assert "LASTSEAT_STORE" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_64(tmp_path: Path) -> None:
    assert lastseat(tmp_path, "demo", "--worker", "threads").returncode == 64
    assert lastseat(tmp_path, "demo", "--buyers", "1").returncode == 64
